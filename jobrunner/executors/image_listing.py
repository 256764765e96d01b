"""Which images there are: those of the recipes, and those that the engine holds under our names."""

from dataclasses import dataclass
from typing import Any, Final

import docker
import docker.errors
import requests.exceptions

from jobrunner.executors import images
from jobrunner.executors.image_bundle import tag_of

_DEADLINE_S: Final = 60
_OURS: Final = tag_of("")


@dataclass(frozen=True, slots=True)
class ListedImage:
    """One image by name and id; a name may have two, the one of the recipe and an older one in the engine.

    `size` is in bytes, in the engine or else of the archive. `image_id` and `size` are None where the recipe
    was not built here. `in_engine` is None where the engine cannot be asked.
    """

    name: str
    image_id: str | None
    size: int | None
    built_here: bool
    in_engine: bool | None


def listed(engine_url: str | None = None) -> tuple[ListedImage, ...]:
    """All of them, by name. Builds and loads nothing. Raises ImageError where a recipe cannot be read."""
    loaded = _in_engine(engine_url)
    found: list[ListedImage] = []
    for name in images.names():
        made = images.built(name)
        if made is None:
            found.append(ListedImage(name, None, None, False, None if loaded is None else False))
            continue
        archive, image_id = made
        size = (loaded or {}).get((name, image_id))
        in_engine = None if loaded is None else size is not None
        found.append(ListedImage(name, image_id, size or archive.stat().st_size, True, in_engine))
    known = {(image.name, image.image_id) for image in found}
    for (name, image_id), size in (loaded or {}).items():
        if (name, image_id) not in known:
            found.append(ListedImage(name, image_id, size, False, True))
    return tuple(sorted(found, key=lambda image: (image.name, image.image_id or "")))


def _in_engine(engine_url: str | None) -> dict[tuple[str, str], int] | None:
    """Name and id of each of our images to its size in bytes; None where the engine does not answer."""
    try:
        engine: Any = docker.APIClient(base_url=engine_url, version="auto", timeout=_DEADLINE_S)
        try:
            return {
                (tag.removeprefix(_OURS), str(image["Id"])): int(image["Size"])
                for image in engine.images()
                for tag in image["RepoTags"] or ()
                if tag.startswith(_OURS)
            }
        finally:
            engine.close()
    except (docker.errors.DockerException, requests.exceptions.RequestException):
        return None
