"""An image as one file that engines load: `docker load`, and so also an export for a site without a network.

The image id is the sha256 of the config that we write, so it is known before any engine has seen it.
"""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}


def architecture() -> str:
    """The name that images use for the processor of this machine."""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def write_archive(layer: Path, config: Mapping[str, Any], created: str, tag: str, destination: Path) -> str:
    """Write an archive of one layer, a tar file. Returns the image id, "sha256:" and 64 hex digits.

    `config` has the engine's keys (User, Env, Entrypoint, ...); `created` is RFC 3339, UTC; `tag`
    is a name for people, so that the engine does not count the image as rubbish.
    """
    with layer.open("rb") as file:
        layer_hash = hashlib.file_digest(file, "sha256").hexdigest()
    body = {
        "architecture": architecture(),
        "config": dict(config),
        "created": created,
        "history": [{"created": created, "created_by": "jobrunner"}],
        "os": "linux",
        "rootfs": {"diff_ids": [f"sha256:{layer_hash}"], "type": "layers"},
    }
    described = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
    image_hash = hashlib.sha256(described).hexdigest()
    listing = [{"Config": f"{image_hash}.json", "Layers": [f"{layer_hash}.tar"], "RepoTags": [tag]}]
    with tarfile.open(destination, "w", format=tarfile.PAX_FORMAT) as archive:
        _add(archive, "manifest.json", json.dumps(listing).encode())
        _add(archive, f"{image_hash}.json", described)
        entry = tarfile.TarInfo(f"{layer_hash}.tar")
        entry.size = layer.stat().st_size
        with layer.open("rb") as file:
            archive.addfile(entry, file)
    return f"sha256:{image_hash}"


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))
