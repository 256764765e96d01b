"""Several images as one file, for a place without a registry.

The file is a gzip of a tar that `docker load` takes too. Its first entry lists our names and image ids; every
byte after it follows from that list and from content that the list names by sha256, so that a reader can
foresee each entry and refuse whatever else is there (threats.md, W4 and I04).
"""

import gzip
import hashlib
import json
import os
import re
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from jobrunner.executors.image_build import ImageError

LIST_NAME: Final = "jobrunner-images.json"
DOCKER_LIST_NAME: Final = "manifest.json"
FORM: Final = 1
BLOCK: Final = 512
CHUNK: Final = 1 << 20
MOST_IMAGES: Final = 64
MOST_LAYERS: Final = 128
MOST_CONFIG: Final = 1 << 20
#: Of one entry: what an old tar can say.
MOST_ENTRY: Final = 8 * 2**30 - 1
#: Of all content together (threats.md, W4).
MOST_BYTES: Final = 20 * 2**30
# Beyond it lie a few percent for three times the time.
_COMPRESSION: Final = 4
_ID: Final = re.compile(r"sha256:([0-9a-f]{64})")

Counted = Callable[[int, int], None]
"""Told how many bytes of how many are done."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer: sha256 of its tar file, which is its diff id, and its size in bytes."""

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class BundledImage:
    """An image of a bundle. The id is the sha256 of its config, whose size is in bytes."""

    name: str
    image_id: str
    config_size: int
    layers: tuple[Layer, ...]

    @property
    def config_name(self) -> str:
        """Name of the entry that holds the config."""
        return f"{hex_of(self.image_id)}.json"


def hex_of(image_id: str) -> str:
    """The 64 hex digits of an image id. Raises ImageError for anything else."""
    found = _ID.fullmatch(image_id)
    if found is None:
        raise ImageError(f"{image_id!r} is no image id, which is sha256: and 64 hex digits")
    return found[1]


def tag_of(name: str) -> str:
    """The engine's name for an image of ours."""
    return f"jobrunner/{name}"


def contents(images: Sequence[BundledImage]) -> Iterator[tuple[str, str, int]]:
    """Name, sha256 and size of each entry after the two lists, in the order of the file; none comes twice."""
    seen: set[str] = set()
    for image in images:
        for name, sha256, size in (
            (image.config_name, hex_of(image.image_id), image.config_size),
            *((f"{layer.sha256}.tar", layer.sha256, layer.size) for layer in image.layers),
        ):
            if name not in seen:
                seen.add(name)
                yield name, sha256, size


def listing(images: Sequence[BundledImage]) -> bytes:
    """The bytes of our own list."""
    entries = [
        {
            "config_bytes": image.config_size,
            "id": image.image_id,
            "layers": [{"bytes": layer.size, "sha256": layer.sha256} for layer in image.layers],
            "name": image.name,
        }
        for image in images
    ]
    return _json({"form": FORM, "images": entries})


def docker_listing(images: Sequence[BundledImage]) -> bytes:
    """The bytes of the list that engines read."""
    return _json(
        [
            {
                "Config": image.config_name,
                "Layers": [f"{layer.sha256}.tar" for layer in image.layers],
                "RepoTags": [tag_of(image.name)],
            }
            for image in images
        ]
    )


def header(name: str, size: int) -> bytes:
    """The one form of header that an entry may have: a plain file, mode 0644, of root, without a time."""
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")


def padding(size: int) -> bytes:
    """What fills the last block of an entry."""
    return bytes(-size % BLOCK)


def export(archives: Mapping[str, Path], destination: Path, counted: Counted) -> tuple[BundledImage, ...]:
    """Write the images to one file; `archives` are those of `images.build` by name.

    Nothing is held in memory but a piece. The file is whole or not there at all, and the same images give
    the same bytes with the same zlib. Raises ImageError, OSError.
    """
    images = tuple(describe(name, archives[name]) for name in sorted(archives))
    total = sum(size for _, _, size in contents(images))
    draft = destination.with_name(f".{destination.name}.partial")
    try:
        with draft.open("wb") as file:
            with gzip.GzipFile(
                filename="", mode="wb", compresslevel=_COMPRESSION, fileobj=file, mtime=0
            ) as packed:
                _write(images, archives, packed, lambda done: counted(done, total))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(destination)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return images


def describe(name: str, archive: Path) -> BundledImage:
    """What the archive of `images.build` holds. Raises ImageError."""
    with _opened(archive) as tar:
        (listed,) = json.loads(_member(tar, DOCKER_LIST_NAME).read())
        config = _member(tar, listed["Config"]).read()
        layers = tuple(
            Layer(entry.removesuffix(".tar"), tar.getmember(entry).size) for entry in listed["Layers"]
        )
        return BundledImage(name, f"sha256:{hashlib.sha256(config).hexdigest()}", len(config), layers)


def _write(
    images: Sequence[BundledImage],
    archives: Mapping[str, Path],
    packed: gzip.GzipFile,
    counted: Callable[[int], None],
) -> None:
    for name, text in ((LIST_NAME, listing(images)), (DOCKER_LIST_NAME, docker_listing(images))):
        packed.write(header(name, len(text)) + text + padding(len(text)))
    waiting = list(contents(images))
    done = 0
    for image in images:
        with _opened(archives[image.name]) as tar:
            while waiting and waiting[0][0] in (
                image.config_name,
                *(f"{x.sha256}.tar" for x in image.layers),
            ):
                name, sha256, size = waiting.pop(0)
                if size > MOST_ENTRY:
                    raise ImageError(f"{image.name} has a layer of over 8 GiB; make it smaller to export it")
                packed.write(header(name, size))
                digest = hashlib.sha256()
                source = _member(tar, name)
                while piece := source.read(CHUNK):
                    digest.update(piece)
                    packed.write(piece)
                    done += len(piece)
                    counted(done)
                if digest.hexdigest() != sha256:
                    raise ImageError(
                        f"{archives[image.name]} has changed or is broken; delete it and build again"
                    )
                packed.write(padding(size))
    packed.write(bytes(2 * BLOCK))


def _opened(archive: Path) -> tarfile.TarFile:
    try:
        return tarfile.open(archive)
    except (OSError, tarfile.TarError) as error:
        raise ImageError(f"{archive} cannot be read: {error}; delete it and build again") from error


def _member(tar: tarfile.TarFile, name: str) -> BinaryIO:
    try:
        file: Any = tar.extractfile(name)
    except KeyError:
        file = None
    if file is None:
        raise ImageError(f"{tar.name!s} has no {name}; delete it and build again")
    return file  # type: ignore[no-any-return]


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")
