from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobrunner.study import TreeRefused
from jobrunner.study.links import check_links
from jobrunner.study.tree import EntryKind

pytestmark = pytest.mark.unit

KINDS = {
    "a.txt": EntryKind.FILE,
    "run.sh": EntryKind.PROGRAM,
    "lib": EntryKind.FOLDER,
    "lib/b.txt": EntryKind.FILE,
    "lib/deep": EntryKind.FOLDER,
    "lib/deep/c.txt": EntryKind.FILE,
}


def check(**targets: str) -> dict[str, str]:
    """Links by name in folder `lib`; `__` stands for a slash."""
    links = {f"lib/{name}": target.encode() for name, target in targets.items()}
    return check_links({**KINDS, **dict.fromkeys(links, EntryKind.LINK)}, links)


@pytest.mark.parametrize(
    "target",
    ["b.txt", "../a.txt", "deep", "deep/", "./deep/c.txt", "../lib/deep/../b.txt", "..", "deep//c.txt"],
)
def test_a_link_inside_the_tree_is_kept_as_written(target: str) -> None:
    assert check(link=target) == {"lib/link": target}


def test_links_may_lead_through_links() -> None:
    assert len(check(one="two", two="deep", three="one/c.txt")) == 3


@pytest.mark.parametrize(
    "target",
    [
        "",
        "/etc/passwd",
        "/b.txt",
        "../../x",
        "../..",
        "missing",
        "b.txt/x",
        "deep/../../../x",
        "link",
        "../lib/link",
        "A.TXT",
    ],
)
def test_any_other_link_is_refused(target: str) -> None:
    with pytest.raises(TreeRefused) as refused:
        check(link=target)

    assert refused.value.detail == "symlink"


def test_a_link_out_through_another_link_and_a_loop_are_refused() -> None:
    for links in ({"one": "deep", "two": "one/../../../x"}, {"one": "two", "two": "one"}):
        with pytest.raises(TreeRefused):
            check(**links)


def test_a_long_chain_is_refused() -> None:
    chain = {f"n{number}": f"n{number + 1}" for number in range(41)}
    with pytest.raises(TreeRefused):
        check(**chain, n41="b.txt")
    assert len(check(n0="n1", n1="b.txt")) == 2


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.sampled_from(["..", ".", "lib", "deep", "b.txt", "one", "two", "a.txt"]), min_size=1, max_size=5
    )
)
def test_what_is_accepted_stays_inside_on_a_real_disk(
    tmp_path_factory: pytest.TempPathFactory, parts: list[str]
) -> None:
    target = "/".join(parts)
    try:
        check(one="deep", two=target)
    except TreeRefused:
        return

    root = tmp_path_factory.mktemp("tree") / "root"
    (root / "lib/deep").mkdir(parents=True)
    for name in ("a.txt", "lib/b.txt", "lib/deep/c.txt"):
        (root / name).touch()
    (root / "lib/one").symlink_to("deep")
    (root / "lib/two").symlink_to(target)
    real = Path(os.path.realpath(root / "lib/two", strict=True))
    assert PurePosixPath(real).is_relative_to(root.resolve())
