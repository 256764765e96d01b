"""Build the layer of an image from a recipe: Debian packages by mmdebstrap, wheels locked by hash.

Nothing in a layer is setuid, is a device, or lets anybody log in. Two builds of one recipe are the
same bytes until Debian updates one of the packages.
"""

import io
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import Final

from jobrunner.executors.base import EngineError

Progress = Callable[[str], None]

_DEADLINE_S: Final = 1800
_WRAPPER: Final = "usr/local/bin/run-action"
_LOGIN_SHELL: Final = "/usr/sbin/nologin"
# Left out: what no job reads, and what would differ from build to build.
_DROP_BELOW: Final = (
    "dev/",
    "run/",
    "tmp/",
    "root/",
    "boot/",
    "var/cache/",
    "var/log/",
    "var/lib/apt/lists/",
    "usr/share/man/",
    "usr/share/info/",
    "usr/share/locale/",
)
_DROP: Final = frozenset(
    {
        "etc/shadow",
        "etc/shadow-",
        "etc/gshadow",
        "etc/gshadow-",
        "etc/passwd-",
        "etc/group-",
        "etc/subuid",
        "etc/subuid-",
        "etc/subgid",
        "etc/subgid-",
        "etc/machine-id",
        "var/lib/dbus/machine-id",
    }
)
# Folders that the engine mounts over, with their modes: runc gives that of /tmp to the tmpfs on it.
_MOUNT_POINTS: Final = {"dev": 0o755, "proc": 0o755, "sys": 0o755, "tmp": 0o1777, "workspace": 0o755}
_CACHES: Final = shutil.ignore_patterns("__pycache__")
_COMPILE: Final = (
    'chroot "$1" python3 -m compileall -q -f --invalidation-mode unchecked-hash '
    "/usr/lib/python3 /usr/lib/python3.* /usr/local/lib"
)


class ImageError(EngineError):
    """An image could not be built, found or loaded. The text says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One folder of deploy/images: recipe.toml and the files that it names.

    `own` are Python packages of the folder that are installed beside the wheels. `programs` are paths in
    the image and the executable files of the folder that become them. `drop` are files of the Debian
    packages to leave out: patterns of paths without the leading slash, where `*` also stands for folders.
    """

    folder: Path
    name: str
    created: str
    suite: str
    packages: tuple[str, ...]
    entrypoint: tuple[str, ...]
    links: dict[str, str]
    requirements: str | None
    python: str
    without: tuple[str, ...]
    own: tuple[str, ...]
    programs: dict[str, str]
    drop: tuple[str, ...]


def read_recipe(folder: Path) -> Recipe:
    """Read recipe.toml. Raises ImageError when it is not there or a key is missing."""
    try:
        text = tomllib.loads((folder / "recipe.toml").read_text(encoding="utf-8"))
        return Recipe(
            folder=folder,
            name=text["name"],
            created=text["created"],
            suite=text["suite"],
            packages=tuple(text["packages"]),
            entrypoint=tuple(text["entrypoint"]),
            links=dict(text.get("links", {})),
            requirements=text.get("wheels", {}).get("requirements"),
            python=text.get("wheels", {}).get("python", ""),
            without=tuple(text.get("wheels", {}).get("without", ())),
            own=tuple(text.get("own", {}).get("packages", ())),
            programs=dict(text.get("programs", {})),
            drop=tuple(text.get("drop", ())),
        )
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        raise ImageError(f"the image recipe in {folder} cannot be read: {error}") from error


def build_layer(recipe: Recipe, wrapper: Path, scratch: Path, progress: Progress) -> Path:
    """Build the layer in `scratch`, a folder of the caller. Returns the tar file. Raises ImageError."""
    command = ["mmdebstrap", "--quiet", f"--mode={'root' if os.geteuid() == 0 else 'unshare'}"]
    command += ["--variant=essential", f"--include={','.join(recipe.packages)}"]
    if recipe.requirements is not None:
        progress(f"{recipe.name}: getting the pinned Python packages")
        wheels = _wheels(recipe, scratch)
        command += [f"--customize-hook=tar-in {wheels} /usr/local/lib", f"--customize-hook={_COMPILE}"]
    system = scratch / "system.tar"
    progress(f"{recipe.name}: installing Debian packages")
    _call([*command, recipe.suite, str(system)], recipe)
    progress(f"{recipe.name}: writing the image")
    layer = scratch / "layer.tar"
    with tarfile.open(system) as source, tarfile.open(layer, "w", format=tarfile.PAX_FORMAT) as target:
        for entry in source:
            _copy(source, entry, target, recipe)
        _add_own(target, recipe, wrapper)
    system.unlink()
    return layer


def _wheels(recipe: Recipe, scratch: Path) -> Path:
    """A tar file of the installed wheels and our own packages, with paths relative to /usr/local/lib."""
    packages = Path(f"python{recipe.python}") / "dist-packages"
    place = scratch / "wheels" / packages
    machine = platform.machine()
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-compile",
        "--no-deps",
        "--no-cache-dir",
    ]
    command += ["--require-hashes", "--only-binary", ":all:", "--python-version", recipe.python]
    for kind in ("manylinux_2_28", "manylinux_2_27", "manylinux_2_17", "manylinux2014"):
        command += ["--platform", f"{kind}_{machine}"]
    command += ["--target", str(place), "--requirement", str(recipe.folder / str(recipe.requirements))]
    _call(command, recipe)
    for pattern in ("bin", *recipe.without):
        for unwanted in list(place.glob(pattern)):
            if unwanted.is_dir():
                shutil.rmtree(unwanted)
            else:
                unwanted.unlink()
    for package in recipe.own:
        shutil.copytree(recipe.folder / package, place / package, ignore=_CACHES)
    path = scratch / "wheels.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        archive.add(place, str(packages), filter=partial(_plain, recipe))
    shutil.rmtree(scratch / "wheels")
    return path


def _plain(recipe: Recipe, entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    entry.mode = 0o755 if entry.isdir() else 0o644
    entry.mtime = _epoch(recipe)
    return entry


def _call(command: list[str], recipe: Recipe) -> None:
    # The whole environment of the caller, since proxies and package mirrors are set there.
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(_epoch(recipe)), "LC_ALL": "C.UTF-8"}
    try:
        done = subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=_DEADLINE_S,
            check=False,
        )
    except FileNotFoundError as error:
        raise ImageError(
            f"{command[0]} is not installed; install it to build the image {recipe.name}"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ImageError(f"{command[0]} for the image {recipe.name} took over {_DEADLINE_S} s") from error
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()[-2000:]
        raise ImageError(f"{command[0]} for the image {recipe.name} failed:\n{said}")


def _epoch(recipe: Recipe) -> int:
    return int(datetime.fromisoformat(recipe.created).timestamp())


def _copy(source: tarfile.TarFile, entry: tarfile.TarInfo, target: tarfile.TarFile, recipe: Recipe) -> None:
    """Copy one entry, hardened, or leave it out."""
    path = entry.name.removeprefix("./")
    if path in _MOUNT_POINTS or path.startswith(_DROP_BELOW) or path in _DROP or _is_doc(path):
        return
    if any(fnmatchcase(path, pattern) for pattern in recipe.drop):
        return
    if not (entry.isreg() or entry.isdir() or entry.issym() or entry.islnk()):
        return
    entry.mode &= 0o1777
    entry.mtime = min(entry.mtime, _epoch(recipe))
    entry.pax_headers = {}
    if path == "etc/passwd":
        _put(target, entry, _without_shells(source, entry))
    elif entry.isreg():
        target.addfile(entry, source.extractfile(entry))
    else:
        target.addfile(entry)


def _is_doc(path: str) -> bool:
    """Whether this is documentation; the copyright files stay."""
    return path.startswith("usr/share/doc/") and path.count("/") > 3 and not path.endswith("/copyright")


def _without_shells(source: tarfile.TarFile, entry: tarfile.TarInfo) -> bytes:
    file = source.extractfile(entry)
    lines = [] if file is None else file.read().decode().splitlines()
    return "".join(f"{line.rpartition(':')[0]}:{_LOGIN_SHELL}\n" for line in lines).encode()


def _add_own(target: tarfile.TarFile, recipe: Recipe, wrapper: Path) -> None:
    """Add the mount points, the wrapper, and the programs and links of the recipe."""
    for folder, mode in _MOUNT_POINTS.items():
        mount_point = tarfile.TarInfo(folder)
        mount_point.type = tarfile.DIRTYPE
        mount_point.mode = mode
        mount_point.mtime = _epoch(recipe)
        target.addfile(mount_point)
    programs = {path.lstrip("/"): recipe.folder / file for path, file in recipe.programs.items()}
    for path, file in sorted({_WRAPPER: wrapper, **programs}.items()):
        entry = tarfile.TarInfo(path)
        entry.mode = 0o755
        entry.mtime = _epoch(recipe)
        _put(target, entry, file.read_bytes())
    for path, points_to in sorted(recipe.links.items()):
        link = tarfile.TarInfo(path.lstrip("/"))
        link.type = tarfile.SYMTYPE
        link.linkname = points_to
        link.mtime = _epoch(recipe)
        target.addfile(link)


def _put(target: tarfile.TarFile, entry: tarfile.TarInfo, content: bytes) -> None:
    entry.size = len(content)
    target.addfile(entry, io.BytesIO(content))


def files_of(recipe: Recipe) -> Iterable[Path]:
    """Every file that the built image depends on."""
    return sorted(
        path for path in recipe.folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    )
