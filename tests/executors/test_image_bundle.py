"""Images as one file: whole way out and in, and that nothing but what was exported is ever loaded."""

import gzip
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker.errors
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobrunner.executors import image_archive, image_bundle, image_import
from jobrunner.executors.image_archive import architecture, write_archive
from jobrunner.executors.image_build import ImageError
from jobrunner.executors.image_bundle import export
from jobrunner.executors.image_import import BundleRefused, import_bundle
from jobrunner.executors.image_listing import listed
from tests.fixtures.engine_proxy import EngineProxy

pytest_plugins = ["tests.fixtures.engine"]

CREATED = "2026-11-01T00:00:00+00:00"
# Nothing listens there: a file that passes the checks ends with another error than one that is refused.
NO_ENGINE = "http://127.0.0.1:1"
ENTRYPOINT = ["/usr/local/bin/run-action", "tool"]


def quiet(_done: int, _total: int) -> None:
    """Nobody watches."""


def make_layer(path: Path, content: bytes) -> Path:
    with tarfile.open(path, "w") as tar:
        entry = tarfile.TarInfo("content")
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    return path


def make_archive(folder: Path, name: str, content: bytes, **config: Any) -> tuple[Path, str]:
    folder.mkdir(exist_ok=True)
    layer = make_layer(folder / f"{name.replace(':', '-')}-layer.tar", content)
    archive = folder / f"{name.replace(':', '-')}.tar"
    image_id = write_archive(
        layer, {"Entrypoint": ENTRYPOINT, **config}, CREATED, f"jobrunner/{name}", archive
    )
    return archive, image_id


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A file with two images, and their ids by name."""
    folder = tmp_path_factory.mktemp("bundle")
    made = {name: make_archive(folder, name, name.encode() * 300) for name in ("two:v2", "one:v1")}
    bundle = folder / "images.tar.gz"
    export({name: archive for name, (archive, _) in made.items()}, bundle, quiet)
    return bundle, {name: image_id for name, (_, image_id) in made.items()}


def plain(bundle: Path) -> bytes:
    return gzip.decompress(bundle.read_bytes())


def entries(data: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]


def as_tar(contents: dict[str, bytes]) -> bytes:
    """Entries in the form that is written."""
    whole = b"".join(
        image_bundle.header(name, len(content)) + content + image_bundle.padding(len(content))
        for name, content in contents.items()
    )
    return whole + bytes(1024)


def refused(folder: Path, data: bytes, *, packed: bool = False, **expected: str) -> str:
    """What is said about a file with these bytes, which must not reach the engine."""
    path = folder / "changed.tar.gz"
    path.write_bytes(data if packed else gzip.compress(data, 1))
    with pytest.raises(BundleRefused) as error:
        import_bundle(path, folder, expected, quiet, NO_ENGINE)
    assert "nothing was loaded" in str(error.value)
    assert [entry.name for entry in folder.iterdir()] == ["changed.tar.gz"]
    return str(error.value)


def passes(folder: Path, data: bytes) -> None:
    path = folder / "same.tar.gz"
    path.write_bytes(gzip.compress(data, 1))
    with pytest.raises(ImageError, match="engine cannot be used") as error:
        import_bundle(path, folder, {}, quiet, NO_ENGINE)
    assert not isinstance(error.value, BundleRefused)


@pytest.mark.unit
def test_a_file_is_what_engines_load_and_says_what_it_holds(exported: tuple[Path, dict[str, str]]) -> None:
    bundle, ids = exported
    found = entries(plain(bundle))
    ours = json.loads(found["jobrunner-images.json"])
    assert {image["name"]: image["id"] for image in ours["images"]} == ids
    engines = json.loads(found["manifest.json"])
    assert [image["RepoTags"] for image in engines] == [["jobrunner/one:v1"], ["jobrunner/two:v2"]]
    for image in engines:
        assert f"sha256:{hashlib.sha256(found[image['Config']]).hexdigest()}" in ids.values()
    assert as_tar(found) == plain(bundle)


@pytest.mark.unit
def test_the_same_images_give_the_same_file_and_progress_ends_at_all(
    exported: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    bundle, _ = exported
    told: list[tuple[int, int]] = []
    archives = {name: bundle.parent / f"{name.replace(':', '-')}.tar" for name in ("one:v1", "two:v2")}
    export(archives, tmp_path / "again.tar.gz", lambda done, total: told.append((done, total)))
    assert (tmp_path / "again.tar.gz").read_bytes() == bundle.read_bytes()
    assert told[-1][0] == told[-1][1] > 0


@pytest.mark.unit
def test_a_layer_that_two_images_share_lies_there_once(tmp_path: Path) -> None:
    archives = {
        name: make_archive(tmp_path / name[0], name, b"same", Env=[name])[0] for name in ("a:v1", "b:v1")
    }
    bundle = tmp_path / "images.tar.gz"
    export(archives, bundle, quiet)
    assert len(entries(plain(bundle))) == 2 + 2 + 1
    passes(tmp_path, plain(bundle))


@pytest.mark.unit
def test_a_broken_archive_is_not_exported(tmp_path: Path) -> None:
    archive, _ = make_archive(tmp_path, "a:v1", b"content" * 100)
    data = archive.read_bytes()
    archive.write_bytes(data.replace(b"content" * 100, b"Content" + b"content" * 99))
    with pytest.raises(ImageError, match="delete it and build again"):
        export({"a:v1": archive}, tmp_path / "images.tar.gz", quiet)
    assert not list(tmp_path.glob("*images.tar.gz*"))


def with_list(data: bytes, change: Callable[[Any], Any]) -> bytes:
    """The same file with another list, the rest left as it is."""
    found = entries(data)
    ours = json.loads(found["jobrunner-images.json"])
    changed = change(ours)
    found["jobrunner-images.json"] = json.dumps(
        ours if changed is None else changed, sort_keys=True, separators=(",", ":")
    ).encode()
    return as_tar(found)


def _set(path: tuple[Any, ...], value: Any) -> Callable[[Any], None]:
    def change(ours: Any) -> None:
        for step in path[:-1]:
            ours = ours[step]
        ours[path[-1]] = value

    return change


LISTS: dict[str, Callable[[Any], Any]] = {
    "other form": _set(("form",), 2),
    "unknown field": _set(("note",), "x"),
    "unknown field of an image": _set(("images", 0, "note"), "x"),
    "no images": _set(("images",), []),
    "images twice": lambda ours: ours["images"].append(ours["images"][0]),
    "bad name": _set(("images", 0, "name"), "../x:v1"),
    "name of another": _set(("images", 0, "name"), "three:v3"),
    "bad id": _set(("images", 0, "id"), "sha256:../../x"),
    "other id": _set(("images", 0, "id"), f"sha256:{'0' * 64}"),
    "no layers": _set(("images", 0, "layers"), []),
    "size of truth": _set(("images", 0, "config_bytes"), True),
    "size below zero": _set(("images", 0, "config_bytes"), -1),
    "huge layer": _set(("images", 0, "layers", 0, "bytes"), 2**40),
    "other layer": _set(("images", 0, "layers", 0, "sha256"), "0" * 64),
    "list of lists": lambda _: [[]],
    "deep": lambda _: json.loads("[" * 900 + "]" * 900),
}


@pytest.mark.unit
@pytest.mark.parametrize("change", LISTS.values(), ids=LISTS)
def test_a_list_that_was_changed_is_refused(
    exported: tuple[Path, dict[str, str]], tmp_path: Path, change: Callable[[Any], Any]
) -> None:
    refused(tmp_path, with_list(plain(exported[0]), change))


def _link(data: bytes) -> bytes:
    entry = tarfile.TarInfo("manifest.json")
    entry.type = tarfile.SYMTYPE
    entry.linkname = "/etc/passwd"
    first = data.index(image_bundle.header("manifest.json", len(entries(data)["manifest.json"])))
    return data[:first] + entry.tobuf(tarfile.USTAR_FORMAT) + data[first + 512 :]


def _renamed_tag(data: bytes) -> bytes:
    found = entries(data)
    found["manifest.json"] = found["manifest.json"].replace(b"jobrunner/one:v1", b"debian/fine:now1")
    return as_tar(found)


def _more(data: bytes) -> bytes:
    return as_tar({**entries(data), "more": b"x"})


def _less(data: bytes) -> bytes:
    found = entries(data)
    found.popitem()
    return as_tar(found)


def _swapped(data: bytes) -> bytes:
    found = list(entries(data).items())
    found[-1], found[-2] = found[-2], found[-1]
    return as_tar(dict(found))


def _setuid(data: bytes) -> bytes:
    name, content = list(entries(data).items())[-1]
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o4755
    return data.replace(image_bundle.header(name, len(content)), entry.tobuf(tarfile.USTAR_FORMAT))


def _filled(data: bytes) -> bytes:
    """Something in the padding of the last entry."""
    return data[:-1025] + b"x" + data[-1024:]


def _other_list_name(data: bytes) -> bytes:
    size = len(entries(data)["jobrunner-images.json"])
    return image_bundle.header("images.json", size) + data[512:]


CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "a list of another name": _other_list_name,
    "a link": _link,
    "a tag of others": _renamed_tag,
    "one more entry": _more,
    "one less": _less,
    "another order": _swapped,
    "another mode": _setuid,
    "a filled gap": _filled,
    "a layer": lambda data: data.replace(b"one:v1" * 300, b"One:v1" + b"one:v1" * 299),
    "a config": lambda data: data.replace(b'"tool"]', b'"evil"]', 1),
    "more after the end": lambda data: data + b"x",
    "blocks after the end": lambda data: data + bytes(512),
    "no end": lambda data: data[:-1024],
    "half of it": lambda data: data[: len(data) // 2],
    "nothing": lambda _: b"",
    "a form of docker save": lambda data: data[len(image_bundle.header("x", 0)) * 2 :],
}


@pytest.mark.unit
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_file_that_was_changed_is_refused(
    exported: tuple[Path, dict[str, str]], tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    data = plain(exported[0])
    assert change(data) != data
    refused(tmp_path, change(data))


@pytest.mark.unit
def test_twin_the_file_as_it_was_written_passes(
    exported: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    passes(tmp_path, plain(exported[0]))
    passes(tmp_path, with_list(plain(exported[0]), lambda _: None))


@pytest.mark.unit
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_changed_byte_is_refused(
    exported: tuple[Path, dict[str, str]], tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    changed = bytearray(plain(exported[0]))
    place = data.draw(st.integers(0, len(changed) - 1))
    changed[place] ^= data.draw(st.integers(1, 255))
    refused(tmp_path_factory.mktemp("changed"), bytes(changed))


@pytest.mark.unit
def test_a_packed_file_that_is_cut_or_no_gzip_is_refused(
    exported: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    packed = exported[0].read_bytes()
    for data in (packed[:-4], packed[: len(packed) // 2], plain(exported[0]), packed + b"x", b""):
        refused(tmp_path, data, packed=True)


@pytest.mark.unit
def test_a_bomb_is_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_bundle, "MOST_BYTES", 1000)
    archive, _ = make_archive(tmp_path / "made", "a:v1", b"x" * 5000)
    bundle = tmp_path / "made" / "images.tar.gz"
    export({"a:v1": archive}, bundle, quiet)
    place = tmp_path / "import"
    place.mkdir()
    assert "its list cannot be read" in refused(place, plain(bundle))


@pytest.mark.unit
def test_layers_that_the_config_does_not_name_are_refused(tmp_path: Path) -> None:
    archive, image_id = make_archive(tmp_path / "made", "a:v1", b"good")
    other, _ = make_archive(tmp_path / "made", "b:v1", b"evil")
    export({"a:v1": archive}, tmp_path / "made" / "a.tar.gz", quiet)
    good = image_bundle.describe("a:v1", archive)
    evil = image_bundle.describe("b:v1", other)
    mixed = image_bundle.BundledImage("a:v1", image_id, good.config_size, evil.layers)
    layer = f"{evil.layers[0].sha256}.tar"
    data = as_tar(
        {
            "jobrunner-images.json": image_bundle.listing([mixed]),
            "manifest.json": image_bundle.docker_listing([mixed]),
            mixed.config_name: entries(archive.read_bytes())[good.config_name],
            layer: entries(other.read_bytes())[layer],
        }
    )
    place = tmp_path / "import"
    place.mkdir()
    assert "names other layers" in refused(place, data)


@pytest.mark.unit
def test_one_name_for_two_images_is_refused(tmp_path: Path) -> None:
    archive, _ = make_archive(tmp_path / "made", "a:v1", b"good")
    image = image_bundle.describe("a:v1", archive)
    found = entries(archive.read_bytes())
    found.pop("manifest.json")
    lists = [image], [image, image]
    good, doubled = (
        as_tar(
            {
                "jobrunner-images.json": image_bundle.listing(images),
                "manifest.json": image_bundle.docker_listing(images),
                **found,
            }
        )
        for images in lists
    )
    place = tmp_path / "import"
    place.mkdir()
    assert "its list cannot be read" in refused(place, doubled)
    passes(place, good)


@pytest.mark.unit
@pytest.mark.parametrize(
    ("config", "part"),
    [
        ({"Entrypoint": None}, "no words to start with"),
        ({"Entrypoint": ["a\nb"]}, "odd words"),
        ({"Entrypoint": [1]}, "odd words"),
        ({"Entrypoint": ["x"] * 17}, "no words to start with"),
    ],
)
def test_words_that_do_not_fit_a_policy_are_refused(
    tmp_path: Path, config: dict[str, Any], part: str
) -> None:
    archive, _ = make_archive(tmp_path / "made", "a:v1", b"x", **config)
    export({"a:v1": archive}, tmp_path / "made" / "a.tar.gz", quiet)
    place = tmp_path / "import"
    place.mkdir()
    assert part in refused(place, plain(tmp_path / "made" / "a.tar.gz"))


@pytest.mark.unit
def test_an_image_for_another_machine_is_refused(
    exported: tuple[Path, dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = plain(exported[0])
    other = "arm64" if architecture() == "amd64" else "amd64"
    monkeypatch.setattr(image_import, "architecture", lambda: other)
    assert f"this machine is linux on {other}" in refused(tmp_path, data)


@pytest.mark.unit
def test_a_terminal_does_not_obey_a_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_archive, "architecture", lambda: "\x1b]0;owned\x07\x1b[2J")
    archive, _ = make_archive(tmp_path / "made", "one:v1", b"x")
    bundle = tmp_path / "images.tar.gz"
    export({"one:v1": archive}, bundle, quiet)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "jobrunner.cli.main", "images", "import", str(bundle)],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "one:v1 is for linux on \\x1b]0;owned\\x07\\x1b[2J" in done.stderr
    assert "\x1b" not in done.stderr
    assert "\x07" not in done.stderr


@pytest.mark.unit
def test_ids_that_were_told_must_be_those_of_the_file(
    exported: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    bundle, ids = exported
    other = f"sha256:{'1' * 64}"
    assert other in refused(tmp_path, plain(bundle), **{"one:v1": other})
    assert "no such image" in refused(tmp_path, plain(bundle), **{"three:v3": ids["one:v1"]})
    with pytest.raises(ImageError, match="engine cannot be used"):
        import_bundle(bundle, tmp_path, ids, quiet, NO_ENGINE)


@pytest.fixture
def in_engine(engine: Any, tmp_path: Path) -> Iterator[tuple[Path, dict[str, str]]]:
    """A file with two images of this process that the engine does not have, and their ids by name."""
    names = [f"bundle-test-{os.getpid()}-{number}:v1" for number in (1, 2)]
    made = {name: make_archive(tmp_path / "made", name, name.encode()) for name in names}
    bundle = tmp_path / "images.tar.gz"
    export({name: archive for name, (archive, _) in made.items()}, bundle, quiet)
    yield bundle, {name: image_id for name, (_, image_id) in made.items()}
    for _, image_id in made.values():
        try:
            engine.remove_image(image_id, force=True)
        except docker.errors.ImageNotFound:
            pass


def has(engine: Any, image: str) -> bool:
    try:
        return bool(engine.inspect_image(image))
    except docker.errors.ImageNotFound:
        return False


@pytest.mark.docker
def test_what_was_exported_comes_back_under_the_same_ids(
    engine: Any, in_engine: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    bundle, ids = in_engine
    for _ in range(2):
        made = import_bundle(bundle, tmp_path, ids, quiet)
        assert {image.name: image.image_id for image in made} == ids
        assert {image.entrypoint for image in made} == {tuple(ENTRYPOINT)}
        for name, image_id in ids.items():
            assert engine.inspect_image(f"jobrunner/{name}")["Id"] == image_id
            # The first time round both the tag and the image go, and the second one brings both back.
            engine.remove_image(f"jobrunner/{name}")
            assert not has(engine, image_id)
    import_bundle(bundle, tmp_path, {}, quiet)
    found = {(image.name, image.image_id, image.built_here, image.in_engine) for image in listed()}
    assert {(name, image_id, False, True) for name, image_id in ids.items()} <= found
    assert not list(tmp_path.glob("importing-*"))


@pytest.mark.docker
def test_an_engine_that_has_another_image_under_the_name_is_told(
    in_engine: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    bundle, ids = in_engine
    other = f"sha256:{'1' * 64}"
    with EngineProxy() as proxy:
        assert import_bundle(bundle, tmp_path, ids, quiet, proxy.url)
        proxy.change_answer[f"/{next(iter(ids))}/json"] = lambda answer: answer.update(Id=other)
        with pytest.raises(ImageError, match=f"the engine did not take .*{other}"):
            import_bundle(bundle, tmp_path, ids, quiet, proxy.url)


@pytest.mark.docker
def test_nothing_of_a_changed_file_is_loaded(
    engine: Any, in_engine: tuple[Path, dict[str, str]], tmp_path: Path
) -> None:
    bundle, ids = in_engine
    before = {image["Id"] for image in engine.images(all=True)}
    data = bytearray(plain(bundle))
    # The very last byte of the last layer's content: all before it is as it was exported.
    last = data.rindex(b"bundle-test-")
    data[last] ^= 1
    changed = tmp_path / "changed.tar.gz"
    changed.write_bytes(gzip.compress(bytes(data), 1))
    with pytest.raises(BundleRefused):
        import_bundle(changed, tmp_path, {}, quiet)
    assert not any(has(engine, image_id) for image_id in ids.values())
    assert not any(has(engine, f"jobrunner/{name}") for name in ids)
    assert {image["Id"] for image in engine.images(all=True)} - before == set()


@pytest.mark.unit
def test_the_list_does_without_an_engine() -> None:
    found = listed(NO_ENGINE)
    assert {image.name for image in found} >= {"python:v2", "sqlrunner:v1"}
    assert {image.in_engine for image in found} == {None}
