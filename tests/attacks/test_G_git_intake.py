"""Attacks on the git intake: rows G01 to G14 of threats.md section 8, each beside its harmless twin."""

from __future__ import annotations

import base64
import dataclasses
import ipaddress
import os
import resource
import shutil
import socket
import subprocess
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from jobrunner.demo.git_server import GitRequestHandler, GitServer
from jobrunner.study import (
    CommitNotFound,
    CommitNotOnBranch,
    GitRules,
    IntakeError,
    Limits,
    Mirrors,
    RepositoryNotAllowed,
    RepositoryUrl,
    TreeRefused,
    Unreachable,
    check_branch,
    check_commit,
    extract,
    parse_repository_url,
)
from jobrunner.study.deadline import Deadline
from jobrunner.study.fetch import fetch_branch
from tests.fixtures.git_fixtures import StudyRepository, local_pin, run_git, serve
from tests.study.evil_hosts import (
    ADVERTISEMENT,
    answering,
    closing,
    hanging,
    narrow,
    old_kind,
    recording,
    redirecting,
    wanting,
)
from tests.study.sites import PROJECT, Site, open_site

unit = pytest.mark.unit
web = pytest.mark.http

RULES = GitRules(("https://git.example",))


@pytest.fixture
def study(tmp_path: Path) -> StudyRepository:
    return StudyRepository.create(tmp_path, "study", {"project.yaml": "x\n"})


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with open_site(tmp_path) as opened:
        yield opened


def refusal(action: Callable[[], object]) -> tuple[str, str]:
    """(reason, detail) of the error that `action` must raise."""
    with pytest.raises(IntakeError) as refused:
        action()
    return refused.value.reason, refused.value.detail


def extract_tree(study: StudyRepository, tree: str) -> Path:
    """Commit the tree object, write it to disk as the agent would; nothing but whole trees may be left."""
    trees = study.bare.parent / "trees"
    try:
        return extract(local_pin(study, study.commit_tree(tree, "evil")), trees, RULES)
    except IntakeError:
        assert [path.name for path in trees.iterdir() if not path.name.endswith(".lock")] == []
        raise


def evil_hooks(folder: Path, marker: Path) -> None:
    """A hook that git runs on every fetch; it leaves `marker`."""
    folder.mkdir()
    for name in ("reference-transaction", "post-checkout", "post-index-change", "fsmonitor"):
        (folder / name).write_text(f"#!/bin/sh\ntouch {marker}\n")
        (folder / name).chmod(0o755)


# --- G01 to G06: what a tree may hold ---------------------------------------------------------------------


@unit
@pytest.mark.parametrize("name", [b"sub", b"..sub", b".hidden"])
def test_G01_submodule_is_refused(study: StudyRepository, name: bytes) -> None:
    modules = study.blob(b'[submodule "../../hooks"]\n\tpath = sub\n\turl = ext::sh -c id\n')
    tree = study.tree(
        sorted([("100644", b".gitmodules", modules), ("160000", name, study.head)], key=lambda e: e[1])
    )

    assert refusal(lambda: extract_tree(study, tree)) == ("tree_refused", "gitlink")
    # Without the gitlink, .gitmodules is a file like any other.
    twin = extract_tree(study, study.tree([("100644", b".gitmodules", modules)]))
    assert [path.name for path in twin.iterdir()] == [".gitmodules"]


@unit
def test_G01_nested_git_folder_is_refused(study: StudyRepository) -> None:
    inner = study.tree([("100644", b"config", study.blob(b"[core]\n\tfsmonitor = touch /tmp/x\n"))])
    for name in (b".git", b".GIT", b"git~1", ".g\u200cit".encode()):
        assert refusal(lambda name=name: extract_tree(study, study.tree([("40000", name, inner)]))) == (
            "tree_refused",
            "name",
        )
    assert (extract_tree(study, study.tree([("40000", b"git", inner)])) / "git/config").is_file()


@web
def test_G01_gitmodules_tricks_are_refused_while_fetching(site: Site) -> None:
    bad = site.study.blob(b'[submodule "../x"]\n\tpath = x\n\turl = -oProxyCommand=id\n')
    commit = site.study.commit_tree(site.study.tree([("100644", b".gitmodules", bad)]), "evil")
    assert refusal(lambda: site.pin("evil", commit)) == ("tree_refused", "gitlink")

    link = site.study.blob(b"project.yaml")
    commit = site.study.commit_tree(site.study.tree([("120000", b".gitmodules", link)]), "evil2")
    assert refusal(lambda: site.pin("evil2", commit)) == ("tree_refused", "symlink")
    assert site.pin().commit == site.study.head


@web
def test_G02_no_configuration_of_anybody_is_read(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "marker"
    evil_hooks(tmp_path / "hooks", marker)
    home = tmp_path / "home"
    home.mkdir()
    configuration = f"[core]\n\thooksPath = {tmp_path}/hooks\n\tfsmonitor = {tmp_path}/hooks/fsmonitor\n"
    (home / ".gitconfig").write_text(configuration)
    environment = {
        "HOME": str(home),
        "GIT_CONFIG_GLOBAL": str(home / ".gitconfig"),
        "GIT_DIR": str(tmp_path / "elsewhere"),
        "GIT_TEMPLATE_DIR": str(tmp_path / "hooks"),
        "GIT_EXEC_PATH": str(tmp_path / "hooks"),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.hooksPath",
        "GIT_CONFIG_VALUE_0": str(tmp_path / "hooks"),
    }
    with monkeypatch.context() as patched:
        for name, value in environment.items():
            patched.setenv(name, value)
        extract(site.pin(), tmp_path / "trees", site.rules())
    assert not marker.exists()

    # The same configuration, where it is read, does run the hook.
    run_git(tmp_path, "init", "--quiet", "--bare", "twin")
    subprocess.run(
        ["git", "fetch", "--quiet", site.url, "main:main"],
        cwd=tmp_path / "twin",
        env={"PATH": os.environ["PATH"], "HOME": str(home)},
        check=True,
    )
    assert marker.exists()


@web
def test_G02_hooks_inside_the_mirror_do_not_run(site: Site, tmp_path: Path) -> None:
    mirror = site.pin().mirror
    evil_hooks(mirror / "hooks", tmp_path / "marker")
    site.study.commit({"new": "1"})

    assert not (site.pin().mirror / "hooks").exists()
    assert not (tmp_path / "marker").exists()


@web
def test_G02_hooks_do_not_run_even_in_a_mirror_that_has_them(site: Site, tmp_path: Path) -> None:
    mirror = site.pin().mirror
    evil_hooks(mirror / "hooks", tmp_path / "marker")
    site.study.commit({"new": "1"})
    bare_fetch(site, mirror, parse_repository_url(site.url, site.rules()))
    assert not (tmp_path / "marker").exists()

    run_git(mirror, "fetch", "--quiet", site.url, "main:twin")
    assert (tmp_path / "marker").exists()


def bare_fetch(site: Site, mirror: Path, url: RepositoryUrl) -> None:
    """The fetch alone, without the checks that come before it."""
    address = ipaddress.ip_address("127.0.0.1")
    with (tmp := mirror.parent / "lock").open("w") as lock:
        fetch_branch(mirror, url, "main", site.rules(), (address,), Deadline.after(20, None), lock.fileno())
    tmp.unlink()


@web
def test_G08_git_itself_speaks_no_other_protocol(site: Site) -> None:
    mirror = site.pin().mirror
    url = parse_repository_url(site.url, site.rules())
    site.study.commit({"new": "1"})
    forged = dataclasses.replace(url, scheme="https")
    local = dataclasses.replace(url, text=str(site.study.bare))
    for other in (forged, local):
        assert refusal(lambda other=other: bare_fetch(site, mirror, other)) == (
            "internal_error",
            "unreachable",
        )
    assert len(list(mirror.glob("objects/pack/*.pack"))) == 1
    bare_fetch(site, mirror, url)
    assert len(list(mirror.glob("objects/pack/*.pack"))) == 2


@unit
def test_G02_a_bare_repository_inside_the_tree_is_plain_files(study: StudyRepository, tmp_path: Path) -> None:
    evil_hooks(tmp_path / "hooks", tmp_path / "marker")
    files = {
        "inner/HEAD": "ref: refs/heads/main\n",
        "inner/config": f"[core]\n\tbare = true\n\thooksPath = {tmp_path}/hooks\n",
        "inner/hooks/post-checkout": f"#!/bin/sh\ntouch {tmp_path}/marker\n",
        "inner/objects/keep": "",
        "inner/refs/keep": "",
    }
    study.commit(files, executable=("inner/hooks/post-checkout",))
    folder = extract(local_pin(study), tmp_path / "trees", RULES)

    assert {name: (folder / name).read_text() for name in files} == files
    assert not (tmp_path / "marker").exists()


@unit
def test_G03_bytes_on_disk_are_those_of_the_blobs(study: StudyRepository, tmp_path: Path) -> None:
    files = {
        ".gitattributes": b"*.txt text eol=crlf ident\n*.sub export-subst\nsecret export-ignore\n"
        b"*.lfs filter=lfs diff=lfs\n*.utf16 working-tree-encoding=UTF-16\n",
        "a.txt": b"one\ntwo $Id$\n",
        "b.sub": b"$Format:%H$\n",
        "secret": b"kept\n",
        "c.lfs": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 1\n",
    }
    tree = study.tree(
        [("100644", name.encode(), study.blob(content)) for name, content in sorted(files.items())]
    )
    commit = study.commit_tree(tree, "attributes")
    folder = extract(local_pin(study, commit), tmp_path / "trees", RULES)

    assert {path.name: path.read_bytes() for path in folder.iterdir()} == files
    # git's own export of the same commit does change bytes and leave files out.
    archive = tmp_path / "archive"
    archive.mkdir()
    packed = subprocess.run(
        ["git", "archive", commit], cwd=study.bare, capture_output=True, check=True
    ).stdout
    subprocess.run(["tar", "x"], cwd=archive, input=packed, check=True)
    assert (archive / "b.sub").read_bytes() != files["b.sub"]
    assert not (archive / "secret").exists()


@unit
@pytest.mark.parametrize("kind", ["blob", "tree", "commit"])
def test_G03_an_object_with_other_bytes_is_not_believed(
    study: StudyRepository, tmp_path: Path, kind: str
) -> None:
    pinned = local_pin(study)
    right = {"blob": study.blob(b"x\n"), "tree": pinned.tree, "commit": pinned.commit}[kind]
    other = study.commit({"project.yaml": "evil\n"})
    wrong = {
        "blob": study.blob(b"y\n"),
        "tree": run_git(study.bare, "rev-parse", f"{other}^{{tree}}"),
        "commit": other,
    }[kind]
    objects = study.bare / "objects"
    (objects / right[:2] / right[2:]).unlink()
    shutil.copy(objects / wrong[:2] / wrong[2:], objects / right[:2] / right[2:])

    if kind == "commit":
        with serve(study.bare.parent) as host:
            rules = GitRules((host.base_url,), allow_loopback_http=True)
            mirrors = Mirrors(tmp_path / "mirrors", rules)
            with pytest.raises(IntakeError):
                mirrors.pin(host.url("study"), "main", pinned.commit)
    else:
        with pytest.raises(Unreachable):
            extract(pinned, tmp_path / "trees", RULES)
        assert not (tmp_path / "trees" / pinned.tree).exists()


@unit
@pytest.mark.parametrize(
    "links",
    [
        {"link": "/etc/passwd"},
        {"link": "../outside"},
        {"folder/link": "../../outside"},
        {"one": "folder", "two": "one/../../outside"},
        {"one": "two", "two": "one"},
        {"link": "link"},
        {"link": "missing"},
        {"link": "x" * 256},
        {"link": "/proc/self/root"},
    ],
)
def test_G04_a_link_that_leads_out_is_refused(study: StudyRepository, links: dict[str, str]) -> None:
    study.commit({"folder/file": "x"}, links=links)
    (study.bare.parent / "outside").write_text("victim")
    tree = run_git(study.bare, "rev-parse", f"{study.head}^{{tree}}")

    assert refusal(lambda: extract_tree(study, tree)) == ("tree_refused", "symlink")
    assert (study.bare.parent / "outside").read_text() == "victim"


@unit
def test_G04_links_inside_are_kept_and_never_written_through(study: StudyRepository, tmp_path: Path) -> None:
    study.commit(
        {"folder/file": "x"}, links={"to-file": "folder/file", "to-folder": "folder", "chain": "to-file"}
    )
    folder = extract(local_pin(study), tmp_path / "good", RULES)
    assert (folder / "chain").read_text() == "x"
    assert (folder / "to-folder").readlink() == Path("folder")

    # A folder entry that hides behind a link of the same name would write outside.
    inner = study.tree([("100644", b"victim", study.blob(b"overwritten"))])
    entries = [("120000", b"a", study.blob(str(tmp_path).encode())), ("40000", b"a", inner)]
    assert refusal(lambda: extract_tree(study, study.tree(entries)))[0] == "tree_refused"
    assert not (tmp_path / "victim").exists()


@unit
@pytest.mark.parametrize(
    ("first", "second"),
    [("A.csv", "a.csv"), ("\u00e9.csv", "\u00c9.csv"), ("stra\u00dfe", "strasse"), ("K", "\u212a")],
)
def test_G05_names_that_collide_are_refused(study: StudyRepository, first: str, second: str) -> None:
    blob = study.blob(b"x")
    tree = study.tree(sorted(("100644", name.encode(), blob) for name in (first, second)))
    with pytest.raises(TreeRefused) as refused:
        extract_tree(study, tree)

    # U+212A is not in composed form; whichever rule speaks first, the tree is refused.
    assert refused.value.detail == ("name" if second == "\u212a" else "collision")
    if refused.value.detail == "collision":
        assert ascii(first)[1:-1] in refused.value.message
        assert ascii(second)[1:-1] in refused.value.message


@unit
def test_G05_folders_that_collide_are_refused(study: StudyRepository) -> None:
    one, two = (study.tree([("100644", name, study.blob(b"x"))]) for name in (b"one", b"two"))
    assert refusal(lambda: extract_tree(study, study.tree([("40000", b"A", one), ("40000", b"a", two)]))) == (
        "tree_refused",
        "collision",
    )
    assert extract_tree(study, study.tree([("40000", b"A", one), ("40000", b"b", two)])).is_dir()


@unit
def test_G05_decomposed_names_are_refused(study: StudyRepository) -> None:
    blob = study.blob(b"x")
    tree = study.tree([("100644", "e\u0301".encode(), blob), ("100644", "\u00e9".encode(), blob)])
    assert refusal(lambda: extract_tree(study, tree)) == ("tree_refused", "name")


@unit
@pytest.mark.parametrize(
    "name",
    [
        b"a\nb",
        b"-rf",
        b"--upload-pack=x",
        "a\u202eb".encode(),
        b"a\x01",
        b"n" * 256,
        b"\xff\xfe",
        b"a\\b",
        b"con",
    ],
)
def test_G06_a_name_that_is_a_trap_is_refused(study: StudyRepository, name: bytes) -> None:
    tree = study.tree([("100644", name, study.blob(b"x"))])
    with pytest.raises(TreeRefused) as refused:
        extract_tree(study, tree)

    assert refused.value.detail == "name"
    assert refused.value.message.isprintable()


@unit
@pytest.mark.parametrize(
    "name", ["a\nb", "-rf", "--upload-pack=x", "a\u202eb", "a\x01", "n" * 256, "a b", "../x"]
)
def test_G06_the_same_as_a_branch_starts_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    mirrors = Mirrors(tmp_path, RULES)
    started: list[object] = []
    monkeypatch.setattr(subprocess, "Popen", lambda *words, **_: started.append(words))

    assert refusal(lambda: mirrors.pin("https://git.example/a/b", name, "a" * 40)) == (
        "commit_not_found",
        "branch",
    )
    assert started == []


# --- G07: size and time -----------------------------------------------------------------------------------


def part_files(site: Site) -> list[Path]:
    return list((site.root / "mirrors").rglob("tmp_*"))


@web
def test_G07_a_pack_over_the_limit_is_cut_off(site: Site) -> None:
    site.pin()
    small = Limits(pack_bytes=400_000)
    site.study.commit({"big": os.urandom(3_000_000)})

    assert refusal(lambda: site.mirrors(small).pin(site.url, "main", site.study.head)) == (
        "tree_refused",
        "too_large",
    )
    assert part_files(site) == []
    assert sum(path.stat().st_size for path in (site.root / "mirrors").rglob("*") if path.is_file()) < 100_000
    assert site.pin().commit == site.study.head


@pytest.mark.slow
@web
def test_G07_a_delta_bomb_runs_out_of_its_memory_not_of_ours(site: Site) -> None:
    limits = Limits(memory_bytes=48 * 2**20)
    assert site.mirrors(limits).pin(site.url, "main", site.study.head)
    # 64 MB that travel as a few hundred kB.
    site.study.commit({"zeros": bytes(64 * 2**20)})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    assert refusal(lambda: site.mirrors(limits).pin(site.url, "main", site.study.head)) == (
        "tree_refused",
        "too_large",
    )
    assert part_files(site) == []
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000


@unit
def test_G07_a_blob_over_the_limit_is_not_written(study: StudyRepository, tmp_path: Path) -> None:
    study.commit({"zeros": bytes(4_000_000)})
    rules = GitRules(("https://git.example",), limits=Limits(blob_bytes=1_000_000))

    assert refusal(lambda: extract(local_pin(study), tmp_path / "trees", rules)) == (
        "tree_refused",
        "too_large",
    )
    assert extract(local_pin(study), tmp_path / "trees", RULES).is_dir()


@pytest.mark.slow
@web
def test_G07_a_tree_of_a_million_files_or_levels_stops_at_the_cap(site: Site) -> None:
    blob = site.study.blob(b"x")
    wide = site.study.tree([("100644", b"%06d" % number, blob) for number in range(60_000)])
    deep = site.study.tree([("100644", b"f", blob)])
    for _ in range(300):
        deep = site.study.tree([("40000", b"d", deep)])
    bomb = site.study.tree([("100644", b"f", blob)])
    for _ in range(9):
        bomb = site.study.tree([("40000", b"d%d" % number, bomb) for number in range(10)])
    started = time.monotonic()
    for name, tree in (("wide", wide), ("deep", deep), ("bomb", bomb)):
        pinned = site.pin(name, site.study.commit_tree(tree, name))
        assert refusal(lambda pinned=pinned: extract(pinned, site.root / "trees", RULES)) == (
            "tree_refused",
            "too_large",
        )
    assert time.monotonic() - started < 20
    assert [path for path in (site.root / "trees").iterdir() if path.is_dir()] == []


@pytest.mark.slow
@web
def test_G07_a_slow_host_is_given_up_at_the_deadline(tmp_path: Path) -> None:
    with open_site(tmp_path, narrow(rate=20_000)) as site:
        site.study.commit({"big": os.urandom(300_000)})
        started = time.monotonic()

        assert refusal(
            lambda: site.mirrors(Limits(fetch_seconds=1)).pin(site.url, "main", site.study.head)
        ) == ("tree_refused", "timeout")
        assert time.monotonic() - started < 3
        assert part_files(site) == []
        assert [path for path in (site.root / "mirrors").iterdir() if path.is_dir()] == []


@web
def test_G07_nothing_of_git_runs_on_after_the_deadline(tmp_path: Path) -> None:
    with open_site(tmp_path, hanging(2)) as site:
        with pytest.raises(Unreachable):
            site.mirrors(Limits(fetch_seconds=0.5)).pin(site.url, "main", site.study.head)
        running = [process for process in psutil.process_iter(["cmdline"]) if process.pid != os.getpid()]

    assert not [one for one in running if any(site.url in word for word in one.info["cmdline"] or ())]


@pytest.mark.slow
@web
def test_G07_many_files_of_an_old_kind_of_host_are_bounded_too(tmp_path: Path) -> None:
    with open_site(tmp_path, old_kind(tmp_path / "host", pause_s=0.05)) as site:
        site.study.commit({f"f{number}": os.urandom(20_000) for number in range(60)})
        run_git(site.study.bare, "update-server-info")
        limits = Limits(pack_bytes=100_000)

        assert refusal(lambda: site.mirrors(limits).pin(site.url, "main", site.study.head)) == (
            "tree_refused",
            "too_large",
        )
        assert [path for path in (site.root / "mirrors").iterdir() if path.is_dir()] == []


# --- G08: addresses ---------------------------------------------------------------------------------------


@unit
@pytest.mark.parametrize(
    ("url", "detail"),
    [
        ("ext::sh -c id% >&2", "url"),
        ("ext::id", "protocol"),
        ("file:///srv/study", "protocol"),
        ("/srv/study", "protocol"),
        ("ssh://-oProxyCommand=id/study", "protocol"),
        ("git@git.example:a/study", "protocol"),
        ("https://git.example:8443/a/study", "url"),
        ("https://user:pass@git.example/a/study", "url"),
        ("https://169.254.169.254/latest/meta-data", "url"),
        ("https://evil.example/a/study", "host"),
    ],
)
def test_G08_an_address_off_the_list_starts_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str, detail: str
) -> None:
    mirrors = Mirrors(tmp_path, RULES)
    started: list[object] = []
    monkeypatch.setattr(subprocess, "Popen", lambda *words, **_: started.append(words))
    monkeypatch.setattr(socket, "getaddrinfo", lambda *words, **_: started.append(words))

    assert refusal(lambda: mirrors.pin(url, "main", "a" * 40)) == ("repository_not_allowed", detail)
    assert started == []


@unit
@pytest.mark.parametrize("address", ["10.1.2.3", "127.0.0.1", "169.254.169.254", "::1", "::ffff:10.1.2.3"])
def test_G08_a_name_that_points_inside_starts_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    mirrors = Mirrors(tmp_path, RULES)
    listed = Mirrors(
        tmp_path, GitRules(("https://git.example",), allow_private_addresses=frozenset({address}))
    )
    started: list[object] = []

    def start(*words: object, **_: object) -> None:
        started.append(words)
        raise OSError("no process in this test")

    monkeypatch.setattr(subprocess, "Popen", start)
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [(2, 1, 6, "", (address, 443))])

    def pin(of: Mirrors) -> object:
        return of.pin("https://git.example/a/study", "main", "a" * 40)

    assert refusal(lambda: pin(mirrors)) == ("repository_not_allowed", "address")
    assert started == []
    with pytest.raises(OSError, match="no process"):
        pin(listed)
    assert len(started) == 1


class Canary:
    """A listener that must never be reached; `packets` counts the connections that did."""

    def __init__(self, host: str, port: int = 0) -> None:
        self._socket = socket.create_server((host, port))
        self.port = int(self._socket.getsockname()[1])
        self.packets = 0
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def _listen(self) -> None:
        while True:
            try:
                self._socket.accept()[0].close()
            except OSError:
                return
            self.packets += 1

    def __enter__(self) -> Canary:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


@web
def test_G08_a_name_that_rebinds_reaches_only_the_checked_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = StudyRepository.create(tmp_path / "host", "owner/study", {"project.yaml": PROJECT})
    # git by itself takes `localhost` for 127.0.0.1, where the canary is. Our look-up says 127.0.0.2.
    with Canary("127.0.0.1") as canary, serve_at(tmp_path / "host", "127.0.0.2", canary.port):
        rules = GitRules((f"http://localhost:{canary.port}",), allow_loopback_http=True)
        answers = [(2, 1, 6, "", ("127.0.0.2", canary.port))]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
        pinned = Mirrors(tmp_path / "mirrors", rules).pin(
            f"http://localhost:{canary.port}/owner/study", "main", study.head
        )

        assert pinned.commit == study.head
        assert canary.packets == 0


def serve_at(root: Path, host: str, port: int) -> GitServer:
    return GitServer(root, port, GitRequestHandler, host)


@web
def test_G08_a_redirect_is_not_followed(site: Site, tmp_path: Path) -> None:
    with Canary("127.0.0.1") as canary:
        for target in (f"http://127.0.0.1:{canary.port}", site.host.base_url):
            with serve(tmp_path / "host", redirecting(target)) as front:
                rules = GitRules((front.base_url, site.host.base_url), allow_loopback_http=True)
                mirrors = Mirrors(tmp_path / "mirrors2", rules)
                with pytest.raises(Unreachable, match="elsewhere"):
                    mirrors.pin(front.url("owner/study"), "main", site.study.head)
        assert canary.packets == 0
    assert mirrors.pin(site.url, "main", site.study.head).commit == site.study.head


# --- G09 to G11: which commit -----------------------------------------------------------------------------


@web
def test_G09_a_commit_of_a_pull_request_is_not_found(site: Site) -> None:
    main = site.study.head
    rogue = site.study.commit({"project.yaml": "evil"}, push=False)
    run_git(site.study.work, "push", "--quiet", str(site.study.bare), "HEAD:refs/pull/1/head")

    assert refusal(lambda: site.pin(commit=rogue)) == ("commit_not_found", "commit")
    assert refusal(lambda: site.pin("pull/1/head", rogue)) == ("commit_not_found", "branch")
    assert site.pin(commit=main).commit == main


@web
def test_G09_a_tag_named_like_the_branch_is_not_the_branch(site: Site) -> None:
    main = site.study.head
    rogue = site.study.commit({"project.yaml": "evil"}, push=False)
    for tag in ("main", "release"):
        run_git(site.study.work, "push", "--quiet", str(site.study.bare), f"HEAD:refs/tags/{tag}")

    assert refusal(lambda: site.pin(commit=rogue)) == ("commit_not_found", "commit")
    assert refusal(lambda: site.pin("release", rogue)) == ("commit_not_found", "branch")
    assert site.pin(commit=main).commit == main


@web
@pytest.mark.parametrize("place", ["tags", "heads", "remotes", ""])
def test_G09_a_name_that_git_would_take_for_the_branch_is_not_the_branch(site: Site, place: str) -> None:
    site.pin()
    run_git(site.study.bare, "update-ref", "-d", "refs/heads/main")
    longer = "/".join(part for part in ("refs", place, "refs/heads/main") if part)
    run_git(site.study.bare, "update-ref", longer, site.study.head)
    for _ in range(2):
        with pytest.raises(CommitNotFound) as refused:
            site.pin()
        assert refused.value.detail == "branch"
    # The twin: beside the branch such a name does no harm.
    run_git(site.study.bare, "update-ref", "refs/heads/main", site.study.head)
    assert site.pin().commit == site.study.head


@web
def test_G09_a_deleted_branch_gives_no_right_to_what_the_mirror_holds(site: Site) -> None:
    site.study.switch("topic")
    commit = site.study.commit({"n": "1"})
    assert site.pin("topic", commit).commit == commit
    run_git(site.study.bare, "update-ref", "-d", "refs/heads/topic")

    assert refusal(lambda: site.pin("topic", commit)) == ("commit_not_found", "branch")
    assert refusal(lambda: site.pin("main", commit)) == ("commit_not_on_branch", "")


@unit
@pytest.mark.parametrize("sha", ["a" * 7, "A" * 40, "HEAD", "a" * 40 + "^", "refs/heads/main", "-" * 40])
def test_G09_only_a_whole_commit_id_is_one(sha: str) -> None:
    assert refusal(lambda: check_commit(sha)) == ("commit_not_found", "commit")
    check_commit("a" * 40)
    check_branch("main")


@web
def test_G10_after_a_force_push_the_old_commit_has_no_right(site: Site) -> None:
    approved = site.study.commit({"project.yaml": "approved"})
    assert site.pin(commit=approved).read_file("project.yaml", 100) == b"approved"
    site.study.switch("main", start="HEAD^")
    rewritten = site.study.commit({"project.yaml": "rewritten"}, push=False)
    site.study.push(force=True)

    assert refusal(lambda: site.pin(commit=approved)) == ("commit_not_on_branch", "")
    assert site.pin(commit=rewritten).read_file("project.yaml", 100) == b"rewritten"


@web
def test_G10_a_newer_pipeline_does_not_replace_the_approved_one(site: Site) -> None:
    approved = site.study.head
    site.study.commit({"project.yaml": "newer", "analysis/a.py": "newer"})
    pinned = site.pin(commit=approved)

    assert pinned.read_file("project.yaml", 100).decode() == PROJECT
    folder = extract(pinned, site.root / "trees", site.rules())
    assert (folder / "analysis/a.py").read_text() == "print(1)\n"


@web
def test_G11_a_commit_of_one_repository_is_not_found_in_another(site: Site) -> None:
    other = StudyRepository.create(site.root / "host", "other/study", {"project.yaml": "other"})
    mirrors = site.mirrors()
    assert mirrors.pin(site.host.url("other/study"), "main", other.head).commit == other.head

    assert refusal(lambda: mirrors.pin(site.url, "main", other.head)) == ("commit_not_found", "commit")
    assert refusal(lambda: mirrors.pin(site.host.url("other/study"), "main", site.study.head)) == (
        "commit_not_found",
        "commit",
    )


# --- G12: a host that is away -----------------------------------------------------------------------------

EVIL_HOSTS = {
    "502": answering(502, "text/html", b"<html>bad gateway</html>"),
    "500": answering(500, "text/plain", b"boom"),
    "404": answering(404, "text/plain", b"no"),
    "html": answering(200, "text/html", b"<html>please sign in</html>"),
    "html with lines": answering(200, "text/html", b"<html>\nplease\tsign in\n</html>\n"),
    "html that says git": answering(200, ADVERTISEMENT, b"<html>please sign in</html>"),
    "empty": answering(200, ADVERTISEMENT, b""),
    "error packet": answering(
        200,
        ADVERTISEMENT,
        b"001e# service=git-upload-pack\n0000003cERR x\nfatal: couldn't find remote ref refs/heads/main",
    ),
    "closing": closing(),
    "cut early": narrow(allowed=300),
    "cut late": narrow(allowed=100_000),
}


@web
@pytest.mark.parametrize("name", list(EVIL_HOSTS))
def test_G12_a_host_that_is_away_is_a_retry_never_an_answer(site: Site, name: str) -> None:
    commit = site.pin().commit
    newer = site.study.commit({"big": os.urandom(300_000)})
    port = site.host.server_address[1]
    site.host.stop()
    with serve(site.root / "host", EVIL_HOSTS[name], port):
        for wanted in (commit, newer):
            assert refusal(lambda wanted=wanted: site.pin(commit=wanted)) == ("internal_error", "unreachable")
    assert part_files(site) == []
    with serve(site.root / "host", port=port):
        assert site.pin(commit=commit).commit == commit


@web
def test_G12_nothing_runs_from_the_cache_alone(site: Site) -> None:
    commit = site.pin().commit
    port = site.host.server_address[1]
    site.host.stop()

    assert refusal(lambda: site.pin(commit=commit)) == ("internal_error", "unreachable")
    with serve(site.root / "host", port=port):
        assert site.pin(commit=commit).commit == commit


@pytest.mark.slow
@web
def test_G12_a_host_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with open_site(tmp_path, hanging(5)) as site:
        started = time.monotonic()
        mirrors = site.mirrors(Limits(stall_seconds=1))

        assert refusal(lambda: mirrors.pin(site.url, "main", site.study.head)) == (
            "internal_error",
            "unreachable",
        )
        assert time.monotonic() - started < 4


@web
def test_G12_what_an_old_kind_of_host_sends_is_not_used(tmp_path: Path) -> None:
    with open_site(tmp_path, old_kind(tmp_path / "host")) as site:
        run_git(site.study.bare, "update-server-info")
        # git itself would take it.
        run_git(tmp_path, "clone", "--quiet", site.url, "twin")

        assert refusal(site.pin) == ("internal_error", "unreachable")
        assert [path for path in (site.root / "mirrors").iterdir() if path.is_dir()] == []


@web
def test_G12_what_an_old_kind_of_host_added_to_a_mirror_is_thrown_away(site: Site) -> None:
    mirror = site.pin().mirror
    site.study.commit({"new": "1"})
    run_git(site.study.bare, "repack", "-a", "-d", "--quiet")
    run_git(site.study.bare, "update-server-info")
    port = site.host.server_address[1]
    site.host.stop()
    with serve(site.root / "host", old_kind(site.root / "host"), port):
        assert refusal(site.pin) == ("internal_error", "unreachable")
    assert (mirror / "broken").exists()
    with serve(site.root / "host", port=port):
        assert site.pin().commit == site.study.head
    assert not (mirror / "broken").exists()


# --- G13: the token ---------------------------------------------------------------------------------------

TOKEN = "canary-7f3a9c"
HEADER = "Basic " + base64.b64encode(f"x-access-token:{TOKEN}".encode()).decode()


def tells(text: bytes) -> bool:
    return TOKEN.encode() in text or HEADER.encode() in text or HEADER[6:].encode() in text


@web
def test_G13_a_token_opens_a_private_repository_and_is_found_nowhere(tmp_path: Path) -> None:
    seen_in_argv: list[bytes] = []

    class Watching(wanting(HEADER)):  # type: ignore[misc]
        def answer_with_git(self, body: bytes) -> None:
            for path in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen_in_argv.append(path.read_bytes())
                except OSError:
                    continue
            super().answer_with_git(body)

    with open_site(tmp_path, Watching) as site:
        assert refusal(site.pin) == ("internal_error", "unreachable")
        rules = site.rules(tokens={site.host.base_url.removeprefix("http://"): TOKEN})
        pinned = Mirrors(tmp_path / "mirrors", rules).pin(site.url, "main", site.study.head)
        extract(pinned, tmp_path / "trees", rules)

    assert any(site.url.encode() in words for words in seen_in_argv)
    assert not any(tells(words) for words in seen_in_argv)
    for root in ("mirrors", "trees"):
        assert not any(tells(path.read_bytes()) for path in (tmp_path / root).rglob("*") if path.is_file())
    assert not tells(repr(pinned).encode() + repr(rules).encode())


@web
def test_G13_a_host_that_sends_the_token_back_does_not_get_it_into_the_error(tmp_path: Path) -> None:
    with open_site(tmp_path, wanting("something else")) as site:
        rules = site.rules(tokens={site.host.base_url.removeprefix("http://"): TOKEN})
        with pytest.raises(Unreachable) as refused:
            Mirrors(tmp_path / "mirrors", rules).pin(site.url, "main", site.study.head)

    assert "403" in refused.value.message
    assert not tells(f"{refused.value!r} {refused.value.__context__!r}".encode())


@web
def test_G13_a_token_goes_to_its_own_host_only(site: Site, tmp_path: Path) -> None:
    seen: list[dict[str, str]] = []
    own: list[dict[str, str]] = []
    with serve(tmp_path / "host", recording(seen)) as other, serve(tmp_path / "host", recording(own)) as mine:
        rules = GitRules(
            (mine.base_url, other.base_url),
            allow_loopback_http=True,
            tokens={mine.base_url.removeprefix("http://"): TOKEN},
        )
        for host in (mine, other):
            Mirrors(tmp_path / "m", rules).pin(host.url("owner/study"), "main", site.study.head)

    assert seen
    assert not any(tells(repr(headers).encode()) for headers in seen)
    assert all(headers.get("authorization") == HEADER for headers in own)


# --- G14: the mirror --------------------------------------------------------------------------------------


@web
@pytest.mark.parametrize("lock", ["config.lock", "packed-refs.lock", "shallow.lock", "ref"])
def test_G14_a_stale_lock_does_not_stop_the_next_fetch(site: Site, lock: str) -> None:
    mirror = site.pin().mirror
    if lock == "ref":
        ref = next(path for path in (mirror / "refs").rglob("*") if path.is_file())
        ref.with_name(ref.name + ".lock").touch()
    else:
        (mirror / lock).touch()
    site.study.commit({"new": "1"})

    assert site.pin().commit == site.study.head
    assert list(mirror.rglob("*.lock")) == []


@web
def test_G14_a_replace_ref_does_not_bend_history(site: Site) -> None:
    main = site.study.head
    site.study.switch("other")
    rogue = site.study.commit({"project.yaml": "evil"})
    tree = run_git(site.study.bare, "rev-parse", f"{main}^{{tree}}")
    bent = run_git(site.study.bare, "commit-tree", tree, "-p", rogue, "-m", "bent")
    run_git(site.study.bare, "update-ref", "refs/heads/bent", bent)
    mirror = site.pin("bent", rogue).mirror
    site.pin("main", main)
    (mirror / "refs/replace").mkdir()
    (mirror / "refs/replace" / main).write_text(bent + "\n")

    # With the replacement, git itself believes that the rogue commit is part of main.
    believed = subprocess.run(
        ["git", "--git-dir", mirror, "merge-base", "--is-ancestor", rogue, main], check=False
    )
    assert believed.returncode == 0
    assert refusal(lambda: site.pin("main", rogue)) == ("commit_not_on_branch", "")


@web
@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("objects/info/alternates", "{root}/host/other/objects\n"),
        ("info/grafts", "{main} {rogue}\n"),
        ("shallow", "{main}\n"),
        ("config", "[core]\n\trepositoryformatversion = 0\n\tbare = true\n[http]\n\tuserAgent = evil\n"),
        ("HEAD", "{main}\n"),
        ("commondir", "{root}/host/other\n"),
    ],
)
def test_G14_a_mirror_with_anything_else_in_it_is_made_again(site: Site, name: str, content: str) -> None:
    other = StudyRepository.create(site.root / "host", "other", {"project.yaml": "other"})
    mirror = site.pin().mirror
    (mirror / name).parent.mkdir(exist_ok=True)
    text = content.format(root=site.root, main=site.study.head, rogue=other.head)
    (mirror / name).write_text(text)

    assert refusal(lambda: site.pin(commit=other.head)) == ("commit_not_found", "commit")
    assert not (mirror / name).exists() or (mirror / name).read_text() != text
    assert site.pin().commit == site.study.head


@pytest.mark.slow
@web
def test_G14_flipped_bits_are_found_and_the_mirror_is_made_again(site: Site) -> None:
    site.study.commit({"data.bin": os.urandom(2000)})
    good = extract(site.pin(), site.root / "good", site.rules()) / "data.bin"
    pack = next(site.pin().mirror.glob("objects/pack/*.pack"))
    pack.chmod(0o600)
    whole = pack.read_bytes()
    trees = site.root / "trees"
    for at in range(12, len(whole), 251):
        pack = next(site.pin().mirror.glob("objects/pack/*.pack"))
        pack.chmod(0o600)
        pack.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        for _ in range(3):
            try:
                folder = extract(site.pin(), trees, site.rules())
                break
            except Unreachable:
                continue
        assert (folder / "data.bin").read_bytes() == good.read_bytes()
        shutil.rmtree(trees)


@unit
def test_G14_a_blob_that_was_swapped_in_the_mirror_is_not_written(
    study: StudyRepository, tmp_path: Path
) -> None:
    pinned = local_pin(study)
    blob = study.blob(b"x\n")
    evil = b"blob 2\0y\n"
    file = study.bare / "objects" / blob[:2] / blob[2:]
    file.chmod(0o600)
    file.write_bytes(zlib.compress(evil))

    assert refusal(lambda: extract(pinned, tmp_path / "trees", RULES)) == ("internal_error", "unreachable")
    assert refusal(lambda: pinned.read_file("project.yaml", 100)) == ("internal_error", "unreachable")


@unit
def test_G08_prefixes_are_compared_by_whole_segments(tmp_path: Path) -> None:
    mirrors = Mirrors(tmp_path, GitRules(("https://git.example/lab",)))
    with pytest.raises(RepositoryNotAllowed):
        mirrors.pin("https://git.example/lab-evil/study", "main", "a" * 40)
    with pytest.raises(CommitNotFound):
        mirrors.pin("https://git.example/lab/study", "main", "short")


@web
def test_G09_a_commit_that_left_the_branch_is_not_on_it(site: Site) -> None:
    site.study.switch("side")
    side = site.study.commit({"n": "1"})
    site.pin("side", side)
    with pytest.raises(CommitNotOnBranch):
        site.pin("main", side)
    site.study.switch("main", start=side)
    site.study.push()
    assert site.pin("main", side).commit == side
