"""Take a bundle of images in: all of it is checked before the engine sees any of it.

An image id is the sha256 of the image's config, and the config names its layers by sha256. So whoever knows
the id knows the content. Who made it is another question: that needs the ids from somebody, by another way
than the file.
"""

import gzip
import hashlib
import json
import tarfile
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import docker
import docker.errors
import requests.exceptions

from jobrunner.executors import image_bundle as bundle
from jobrunner.executors.image_archive import architecture
from jobrunner.executors.image_build import ImageError
from jobrunner.executors.image_bundle import BundledImage, Counted, Layer
from jobrunner.executors.images import folder_of

_LOAD_DEADLINE_S: Final = 1800
_MOST_WORDS: Final = 16


class BundleRefused(ImageError):
    """The file is not what `jobrunner images export` writes. Nothing of it was loaded."""


@dataclass(frozen=True, slots=True)
class ImportedImage:
    """An image that the engine now has: our name, its id, and the words that go before those of `run`."""

    name: str
    image_id: str
    entrypoint: tuple[str, ...]


def import_bundle(
    path: Path, scratch: Path, expected: Mapping[str, str], counted: Counted, engine_url: str | None = None
) -> tuple[ImportedImage, ...]:
    """Check the file and load its images. Raises BundleRefused, ImageError, OSError.

    What is loaded is a copy that was hashed while it was written, in a folder of our own below `scratch`, so
    that a change of the file in between changes nothing. `expected` are ids, by name, that somebody told:
    each must be in the file and be that one.
    """
    with tempfile.TemporaryDirectory(dir=scratch, prefix="importing-") as folder:
        checked = Path(folder) / "images.tar"
        images, configs = _check(path, checked, expected, counted)
        made = tuple(
            ImportedImage(image.name, image.image_id, _entrypoint(image, configs[image.config_name]))
            for image in images
        )
        _load(checked, images, engine_url)
    return made


def _check(
    path: Path, checked: Path, expected: Mapping[str, str], counted: Counted
) -> tuple[tuple[BundledImage, ...], dict[str, Any]]:
    size = path.stat().st_size
    try:
        with path.open("rb") as file, gzip.GzipFile(fileobj=file) as packed, checked.open("xb") as copy:
            images = _read_list(packed)
            _check_expected(images, expected)
            text = bundle.docker_listing(images)
            _expect(packed, bundle.header(bundle.DOCKER_LIST_NAME, len(text)) + text, "its second list")
            _expect(packed, bundle.padding(len(text)), "its second list")
            copy.write(bundle.header(bundle.DOCKER_LIST_NAME, len(text)) + text + bundle.padding(len(text)))
            configs: dict[str, Any] = {}
            for name, sha256, length in bundle.contents(images):
                _expect(packed, bundle.header(name, length), f"the entry {name}")
                kept = _copy(
                    packed, copy, name, sha256, length, lambda: counted(min(file.tell(), size), size)
                )
                if name.endswith(".json"):
                    configs[name] = _config(kept)
                _expect(packed, bundle.padding(length), f"the entry {name}")
                copy.write(bundle.padding(length))
            _expect(packed, bytes(2 * bundle.BLOCK), "its end")
            copy.write(bytes(2 * bundle.BLOCK))
            if packed.read(1):
                raise BundleRefused(f"{path} goes on after its end; nothing was loaded, get it again")
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BundleRefused(
            f"{path} is cut off or no file of `jobrunner images export`; nothing was loaded, get it again"
        ) from error
    for image in images:
        _check_config(image, configs[image.config_name])
    return images, configs


def _read_list(packed: gzip.GzipFile) -> tuple[BundledImage, ...]:
    """Our own list, from the first entry. Raises BundleRefused unless it is written as we write it."""
    block = packed.read(bundle.BLOCK)
    try:
        size = tarfile.TarInfo.frombuf(block, "ascii", "strict").size
    except (tarfile.TarError, UnicodeDecodeError) as error:
        raise _other("it does not begin as one") from error
    if not 0 < size <= bundle.MOST_CONFIG or block != bundle.header(bundle.LIST_NAME, size):
        raise _other("its first entry is not our list")
    text = packed.read(size)
    _expect(packed, bundle.padding(size), "its list")
    try:
        images = _images(json.loads(text))
    except (ImageError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise _other("its list cannot be read") from error
    # Any other spelling, unknown field or repeated key shows here.
    if bundle.listing(images) != text:
        raise _other("its list is not in the form that is written")
    return images


def _images(value: Any) -> tuple[BundledImage, ...]:
    images = tuple(
        BundledImage(
            folder_of(entry["name"]) and entry["name"],
            entry["id"],
            _size(entry["config_bytes"], bundle.MOST_CONFIG),
            tuple(
                Layer(bundle.hex_of(f"sha256:{layer['sha256']}"), _size(layer["bytes"], bundle.MOST_ENTRY))
                for layer in entry["layers"]
            ),
        )
        for entry in value["images"]
    )
    if value["form"] != bundle.FORM or not 0 < len(images) <= bundle.MOST_IMAGES:
        raise ValueError("form or number of images")
    if any(not 0 < len(image.layers) <= bundle.MOST_LAYERS for image in images):
        raise ValueError("number of layers")
    if len({image.name for image in images}) < len(images):
        raise ValueError("two images of one name")
    if sum(size for _, _, size in bundle.contents(images)) > bundle.MOST_BYTES:
        raise ValueError("size of all")
    return images


def _size(value: Any, most: int) -> int:
    if type(value) is not int or not 0 < value <= most:
        raise ValueError("size")
    return value


def _check_expected(images: Sequence[BundledImage], expected: Mapping[str, str]) -> None:
    found = {image.name: image.image_id for image in images}
    for name, image_id in expected.items():
        if found.get(name) != image_id:
            has = found.get(name, "no such image")
            raise BundleRefused(
                f"the file has {has} as {name}, and {image_id} is expected; nothing was loaded, "
                "ask where the file comes from"
            )


def _copy(packed: gzip.GzipFile, copy: BinaryIO, name: str, sha256: str, size: int, told: Any) -> bytes:
    """Copy and hash one entry. Returns it if it is a config. Raises BundleRefused for other content."""
    digest, left, kept = hashlib.sha256(), size, bytearray()
    copy.write(bundle.header(name, size))
    while left:
        piece = packed.read(min(left, bundle.CHUNK))
        if not piece:
            raise EOFError
        left -= len(piece)
        digest.update(piece)
        copy.write(piece)
        if name.endswith(".json"):
            kept += piece
        told()
    if digest.hexdigest() != sha256:
        raise BundleRefused(
            f"the content of {name} does not have the sha256 that the list says; nothing was loaded, "
            "get it again"
        )
    return bytes(kept)


def _config(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _other("a config is no JSON") from error


def _check_config(image: BundledImage, config: Any) -> None:
    """The config must name the layers that lie in the file, and be for this machine."""
    try:
        diff_ids = config["rootfs"]["diff_ids"]
        processor, system = config["architecture"], config["os"]
    except (KeyError, TypeError) as error:
        raise _other(f"the config of {image.name} is none") from error
    if diff_ids != [f"sha256:{layer.sha256}" for layer in image.layers]:
        raise _other(f"the config of {image.name} names other layers")
    if (system, processor) != ("linux", architecture()):
        raise BundleRefused(
            f"{image.name} is for {system} on {processor}, this machine is linux on {architecture()}; "
            "nothing was loaded, build it on a machine like this one"
        )


def _entrypoint(image: BundledImage, config: Any) -> tuple[str, ...]:
    words = config.get("config", {}).get("Entrypoint") if isinstance(config.get("config"), dict) else None
    if not isinstance(words, list) or not 0 < len(words) <= _MOST_WORDS:
        raise _other(f"the config of {image.name} says no words to start with")
    if not all(isinstance(word, str) and word.isascii() and word.isprintable() for word in words):
        raise _other(f"the config of {image.name} has odd words to start with")
    return tuple(words)


def _load(checked: Path, images: Sequence[BundledImage], engine_url: str | None) -> None:
    try:
        engine: Any = docker.APIClient(base_url=engine_url, version="auto", timeout=_LOAD_DEADLINE_S)
        try:
            with checked.open("rb") as file:
                said = "".join(str(line.get("error", "")) for line in engine.load_image(file))
            for image in images:
                try:
                    loaded = engine.inspect_image(bundle.tag_of(image.name))["Id"]
                except docker.errors.ImageNotFound:
                    loaded = None
                if loaded != image.image_id:
                    raise ImageError(
                        f"the engine did not take {image.name}: {said or f'it has {loaded}'}; try again"
                    )
        finally:
            engine.close()
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise ImageError(f"the Docker engine cannot be used: {error}; is it running?") from error


def _expect(packed: gzip.GzipFile, wanted: bytes, what: str) -> None:
    if packed.read(len(wanted)) != wanted:
        raise _other(f"{what} is not as it must be")


def _other(why: str) -> BundleRefused:
    return BundleRefused(
        f"this is no file of `jobrunner images export`: {why}; nothing was loaded, get it again"
    )
