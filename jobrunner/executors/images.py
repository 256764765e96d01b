"""The images of deploy/images: built once per recipe, cached, loaded when the engine lacks them."""

import fcntl
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import docker
import docker.errors
import requests.exceptions

from jobrunner.executors.image_archive import architecture, write_archive
from jobrunner.executors.image_build import ImageError, Progress, Recipe, build_layer, files_of, read_recipe

# Part of the cache key: raise it when the same recipe gives another image.
_BUILDER: Final = "2"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}:v[0-9]{1,6}")
_LOAD_DEADLINE_S: Final = 900
_WRAPPER: Final = "run-action"
# Nobody: whoever starts the image by hand does not get root either.
_USER: Final = "65534:65534"


def ensure(name: str, progress: Progress, engine_url: str | None = None) -> str:
    """Have the engine hold the image `name`, such as "python:v2". Returns its id, "sha256:<64 hex>".

    Builds it when this recipe was never built here (a minute), loads it when the engine lacks it
    (seconds), else does nothing. A second process waits for the first. Raises ImageError.
    """
    archive, image_id = build(name, progress)
    load(archive, image_id, progress, engine_url)
    return image_id


def build(name: str, progress: Progress) -> tuple[Path, str]:
    """Build the archive of an image unless it is in the cache. Returns its path and the image id."""
    recipe = read_recipe(recipe_root() / folder_of(name))
    wrapper = recipe_root() / _WRAPPER
    cache = cache_root()
    place = _place(recipe, wrapper, cache)
    with _locked(cache, folder_of(name)):
        if not place.exists():
            with tempfile.TemporaryDirectory(dir=cache, prefix="building-") as scratch:
                made = Path(scratch) / "made"
                made.mkdir()
                # mmdebstrap without root works as another user id.
                Path(scratch).chmod(0o755)
                layer = build_layer(recipe, wrapper, Path(scratch), progress)
                config = image_config(recipe)
                tag = f"jobrunner/{name}"
                image_id = write_archive(layer, config, recipe.created, tag, made / "image.tar")
                (made / "image-id").write_text(image_id, encoding="ascii")
                made.rename(place)
    return _archive_in(place)


def image_config(recipe: Recipe) -> dict[str, object]:
    """The config of an image of ours; what is not in it keeps its empty default."""
    return {
        "Entrypoint": list(recipe.entrypoint),
        "User": _USER,
        "WorkingDir": "/workspace",
    }


def built(name: str) -> tuple[Path, str] | None:
    """What `build` would return at once, or None where it would have to build. Raises ImageError."""
    place = _place(read_recipe(recipe_root() / folder_of(name)), recipe_root() / _WRAPPER, cache_root())
    return _archive_in(place) if place.exists() else None


def names() -> tuple[str, ...]:
    """The images that there are recipes for, in order."""
    return tuple(sorted(read_recipe(file.parent).name for file in recipe_root().glob("*/recipe.toml")))


def _place(recipe: Recipe, wrapper: Path, cache: Path) -> Path:
    """The folder of the cache for an image of exactly this recipe."""
    digest = hashlib.sha256(f"{_BUILDER}\0{architecture()}\0".encode())
    for path in (*files_of(recipe), wrapper):
        content = path.read_bytes()
        digest.update(f"{path.relative_to(wrapper.parent)}\0{len(content)}\0".encode())
        digest.update(content)
    return cache / f"{folder_of(recipe.name)}-{digest.hexdigest()[:24]}"


def _archive_in(place: Path) -> tuple[Path, str]:
    return place / "image.tar", (place / "image-id").read_text(encoding="ascii")


def load(archive: Path, image_id: str, progress: Progress, engine_url: str | None = None) -> None:
    """Load an archive into the engine unless it has this image. Raises ImageError."""
    try:
        engine: Any = docker.APIClient(base_url=engine_url, version="auto", timeout=_LOAD_DEADLINE_S)
        try:
            if not _has(engine, image_id):
                progress(f"loading {archive.parent.name} into the engine")
                with archive.open("rb") as file:
                    said = "".join(str(line.get("error", "")) for line in engine.load_image(file))
                if not _has(engine, image_id):
                    raise ImageError(
                        f"the engine did not take {archive}: {said or 'delete it and try again'}"
                    )
        finally:
            engine.close()
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        raise ImageError(f"the Docker engine cannot be used: {error}; is it running?") from error


def recipe_root() -> Path:
    """The folder of recipes: of the checkout this runs from, else of the installed wheel."""
    package = Path(__file__).resolve().parent.parent
    for root in (package.parent / "deploy" / "images", package / "_shipped" / "deploy" / "images"):
        if (root / _WRAPPER).is_file():
            return root
    raise ImageError("there are no image recipes beside this program; install jobrunner again")


def cache_root() -> Path:
    """Where built images are kept, outside of any work tree."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    root = Path(base) / "jobrunner" / "images"
    root.mkdir(parents=True, exist_ok=True)
    return root


def folder_of(name: str) -> str:
    """Folder name of an image: "python:v2" is "python-v2". Raises ImageError for anything else."""
    if not _NAME.fullmatch(name):
        raise ImageError(f"{name!r} is not the name of an image with a version, such as python:v2")
    return name.replace(":", "-")


def _has(engine: Any, image_id: str) -> bool:
    try:
        return bool(engine.inspect_image(image_id)["Id"] == image_id)
    except docker.errors.ImageNotFound:
        return False


@contextmanager
def _locked(cache: Path, what: str) -> Iterator[None]:
    """Only one process at a time builds this image; the lock ends with the process."""
    descriptor = os.open(cache / f"{what}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
