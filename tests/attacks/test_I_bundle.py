"""Attacks by way of a file of images that an operator imports (threats.md section 8, row I04; wall W4)."""

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jobrunner.executors import image_bundle
from jobrunner.executors.base import ActionRun
from jobrunner.executors.docker import DockerExecutor
from jobrunner.executors.image_archive import write_archive
from jobrunner.executors.image_bundle import export
from jobrunner.executors.image_import import BundleRefused, import_bundle
from tests.fixtures.canary_runs import AGENT, run_to_end

pytestmark = pytest.mark.docker
pytest_plugins = ["tests.fixtures.engine"]

CREATED = "2026-11-01T00:00:00+00:00"
BOMB = 64 * 2**20


def quiet(_done: int, _total: int) -> None:
    """Nobody watches."""


def exported(folder: Path, layer: Path, name: str, **config: Any) -> tuple[Path, str]:
    folder.mkdir()
    archive = folder / "image.tar"
    image_id = write_archive(layer, config, CREATED, f"jobrunner/{name}", archive)
    export({name: archive}, folder / "images.tar.gz", quiet)
    return folder / "images.tar.gz", image_id


@pytest.mark.parametrize("at", ["its list", "a layer", "its end"])
def test_I04_a_bomb_stops_at_the_bytes_that_were_announced(
    engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    layer = tmp_path / "layer.tar"
    with tarfile.open(layer, "w") as tar:
        tar.addfile(tarfile.TarInfo("empty"))
    bundle, _ = exported(tmp_path / "made", layer, "bomb-test:v1")
    data = gzip.decompress(bundle.read_bytes())
    cut = {
        "its list": 512,
        "a layer": len(data) - 1024 - layer.stat().st_size,
        "its end": len(data),
    }[at]
    bomb = tmp_path / "bomb.tar.gz"
    with gzip.open(bomb, "wb", compresslevel=1) as file:
        file.write(data[:cut])
        for _ in range(BOMB // 2**20):
            file.write(bytes(2**20))
    read = 0
    plain = gzip.GzipFile.read

    def counting(self: gzip.GzipFile, size: int | None = -1) -> bytes:
        nonlocal read
        found = plain(self, size)
        read += len(found)
        return found

    monkeypatch.setattr(gzip.GzipFile, "read", counting)
    before = {image["Id"] for image in engine.images(all=True)}
    with pytest.raises(BundleRefused):
        import_bundle(bomb, tmp_path, {}, quiet)
    assert read <= len(data) + 1
    assert {image["Id"] for image in engine.images(all=True)} - before == set()


def test_I04_more_than_the_budget_is_not_begun(tmp_path: Path) -> None:
    sizes = (image_bundle.MOST_ENTRY,) * 3
    layers = tuple(image_bundle.Layer(str(number) * 64, size) for number, size in enumerate(sizes))
    huge = image_bundle.BundledImage("huge:v1", f"sha256:{'a' * 64}", 10, layers)
    text = image_bundle.listing([huge])
    whole = image_bundle.header(image_bundle.LIST_NAME, len(text)) + text + image_bundle.padding(len(text))
    (tmp_path / "huge.tar.gz").write_bytes(gzip.compress(whole))
    with pytest.raises(BundleRefused, match="its list cannot be read"):
        import_bundle(tmp_path / "huge.tar.gz", tmp_path, {}, quiet)


def test_I04_setuid_and_devices_of_an_imported_image_have_no_effect(
    engine: Any,
    executor: DockerExecutor,
    canary: Callable[..., ActionRun],
    canary_layer: Path,
    tmp_path: Path,
) -> None:
    layer = tmp_path / "layer.tar"
    layer.write_bytes(canary_layer.read_bytes())
    with tarfile.open(layer, "a") as tar:
        for name, kind, target in (
            ("absolute", tarfile.SYMTYPE, "/etc/passwd"),
            ("null", tarfile.CHRTYPE, ""),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.mode = kind, target, 0o6777
            entry.devmajor, entry.devminor = 1, 3
            tar.addfile(entry, io.BytesIO())
    name = "hostile-test:v1"
    bundle, image_id = exported(tmp_path / "made", layer, name, Entrypoint=["/canary"], User="0:0")
    try:
        import_bundle(bundle, tmp_path, {name: image_id}, quiet)
        run = canary("snapshot", image_id=image_id, entrypoint=("/setuid-canary",))
        ended = run_to_end(executor, run)
        assert (ended.exit.status, ended.json["uid"]) == (0, run.uid)
    finally:
        executor.sweep(AGENT, keep=())
        engine.remove_image(image_id, force=True)
