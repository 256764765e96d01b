"""What a file is by its bytes, whatever its name says. No part of it is unpacked or parsed."""

import re
import struct

TEXT = "text"
BINARY = "binary"

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"PK\x03\x04", "zip archive"),
    (0, b"PK\x05\x06", "zip archive"),
    (0, b"PK\x07\x08", "zip archive"),
    (0, b"\x1f\x8b", "gzip archive"),
    (0, b"\x1f\x9d", "compress archive"),
    (0, b"BZh", "bzip2 archive"),
    (0, b"\xfd7zXZ\x00", "xz archive"),
    (0, b"\x28\xb5\x2f\xfd", "zstd archive"),
    (0, b"\x04\x22\x4d\x18", "lz4 archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z archive"),
    (0, b"Rar!\x1a\x07", "rar archive"),
    (257, b"ustar", "tar archive"),
    (0, b"!<arch>\n", "ar archive"),
    (0, b"MSCF", "cab archive"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "office file"),
    (0, b"{\\rtf", "office file"),
    (0, b"PAR1", "parquet file"),
    (0, b"ARROW1", "feather file"),
    (0, b"FEA1", "feather file"),
    (0, b"ORC", "orc file"),
    (0, b"Obj\x01", "avro file"),
    (0, b"SQLite format 3\x00", "sqlite database"),
    (8, b"DUCK", "duckdb database"),
    (0, b"X\n\x00\x00\x00", "rds file"),
    (0, b"B\n\x02\x00\x00\x00", "rds file"),
    (0, b"B\n\x03\x00\x00\x00", "rds file"),
    (0, b"RDX2\n", "rds file"),
    (0, b"RDX3\n", "rds file"),
    (0, b"RDA2\n", "rds file"),
    (0, b"RDA3\n", "rds file"),
    (0, b"RDB2\n", "rds file"),
    (0, b"RDB3\n", "rds file"),
    (0, b"<stata_dta>", "stata file"),
    (12, b"\xc2\xea\x81\x60\xb3\x14\x11\xcf\xbd\x92\x08\x00", "sas file"),
    (0, b"HEADER RECORD*******LIB", "sas file"),
    (0, b"$FL2", "spss file"),
    (0, b"$FL3", "spss file"),
    (0, b"\x89HDF\r\n\x1a\n", "hdf5 file"),
    (0, b"CDF\x01", "netcdf file"),
    (0, b"CDF\x02", "netcdf file"),
    (0, b"\x93NUMPY", "numpy file"),
    (0, b"\x7fELF", "program"),
    (0, b"MZ", "program"),
    (0, b"GIF8", "gif picture"),
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (0, b"\xff\xd8\xff", "jpeg"),
)
_SERIALISED = frozenset({"rds file", "hdf5 file", "numpy file", "pickle", "safetensors file"})
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
_TEXT_PICKLE = re.compile(rb"(?:\(dp?0?\n|\(lp?0?\n|c[A-Za-z_][\w.]*\n[A-Za-z_]\w*\n)")
# Stata before version 13: release number, byte order, file type 1, one unused byte.
_OLD_STATA = re.compile(rb"[\x66-\x73][\x01\x02]\x01\x00")
_TEXT_RDS = re.compile(rb"A\n[23]\n\d{5,7}\n\d{5,7}\n")
_SAFETENSORS = re.compile(rb"[\x00-\xff]{4}\x00{4}\{\"")
_HTML = re.compile(r"(?>\s+|<!--.*?-->)*+<(?:!doctype html|html|head|body|script)\b", re.I | re.S)
_SVG = re.compile(r"(?>\s+|<\?xml.*?\?>|<!--.*?-->|<!DOCTYPE.*?>)*+<(?:\w+:)?svg\b", re.I | re.S)
_XML = re.compile(r"\s*<\?xml\b")
_PDF_WITHIN = 1024
_HEAD = 8192
_ZIP_END = b"PK\x05\x06"
_ZIP_END_SIZE = 22
_ZIP_COMMENT = 0xFFFF


def is_serialised(kind: str) -> bool:
    """Whether this kind is an object dump, which gets rule SDC032 as well."""
    return kind in _SERIALISED


def sniff(data: bytes) -> str:
    """The kind of a file from its bytes: png, jpeg, text, binary, or the name of a kind that is refused."""
    text = is_text(data)
    for offset, magic, kind in _MAGIC:
        # A column may be called "MZ": letters alone do not make a text a program.
        if data.startswith(magic, offset) and not (text and magic.isalnum()):
            # A picture can be an archive too: readers of archives start at the end of the file.
            return "zip archive" if _ends_as_zip(data) else kind
    if b"%PDF-" in data[:_PDF_WITHIN]:
        return "pdf"
    if data.endswith(b"PAR1"):
        return "parquet file"
    if _PICKLE.match(data) or (_TEXT_PICKLE.match(data) and data.rstrip(b"\n").endswith(b".")):
        return "pickle"
    if _TEXT_RDS.match(data):
        return "rds file"
    if _OLD_STATA.match(data):
        return "stata file"
    if _SAFETENSORS.match(data):
        return "safetensors file"
    if _ends_as_zip(data):
        return "zip archive"
    return TEXT if text else BINARY


def is_text(data: bytes) -> bool:
    """Whether the bytes are UTF-8 (perhaps with a byte order mark) without NUL."""
    if b"\x00" in data:
        return False
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def markup(text: str) -> str | None:
    """html, svg or xml, when the text begins like one."""
    head = text[:_HEAD].lstrip("\ufeff")
    if _HTML.match(head):
        return "html"
    if _SVG.match(head):
        return "svg"
    return "xml" if _XML.match(head) else None


def _ends_as_zip(data: bytes) -> bool:
    """Whether a zip's closing record stands at the end, with a comment of just the length that is left."""
    window = max(0, len(data) - _ZIP_END_SIZE - _ZIP_COMMENT)
    place = data.rfind(_ZIP_END, window)
    while place >= 0:
        if place + _ZIP_END_SIZE <= len(data):
            (comment,) = struct.unpack_from("<H", data, place + 20)
            if place + _ZIP_END_SIZE + comment == len(data):
                return True
        place = data.rfind(_ZIP_END, window, place)
    return False
