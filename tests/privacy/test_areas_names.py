"""Whatever names outputs are given: the views hold every output and every notice, and nothing else."""

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from jobrunner.privacy import manifest, names
from jobrunner.privacy.outputs import OutputsRefused
from jobrunner.privacy.records import RunRecord
from tests.privacy.making import HIGH, MODERATE, Site
from tests.privacy.test_areas_machine import WORKSPACE, finished

pytestmark = [pytest.mark.unit, pytest.mark.slow]

ACTIONS = ["one", "two", "three"]
LONG = "n" * (names.PART_BYTES - 8)
PARTS = ["a", "A", "a.txt", "A.txt", "a.2.txt", "a.txt.txt", "b", LONG, f"{LONG}.txt", f"{LONG}.txt.txt"]

paths = st.lists(st.sampled_from(PARTS), min_size=1, max_size=3).map("/".join)
kinds = st.sampled_from(["shown", "kept out", "highly sensitive"])
runs = st.tuples(
    st.sampled_from(ACTIONS),
    st.dictionaries(paths, kinds, min_size=1, max_size=6),
    st.none() | st.sets(st.sampled_from(ACTIONS)),
)


def run_of(site: Site, number: int, action: str, kind_of: dict[str, str]) -> RunRecord:
    """A run whose files were found to be of these kinds."""
    record = finished(site, number, 1, action, list(kind_of), True)
    outputs = tuple(
        replace(
            one,
            level=HIGH if kind_of[one.path] == "highly sensitive" else MODERATE,
            excluded=kind_of[one.path] == "kept out",
        )
        for one in record.outputs
    )
    return replace(record, outputs=outputs)


def require_views(site: Site, current: dict[str, tuple[RunRecord, str]]) -> None:
    """Fail unless both views are what `current` says: path -> (run, kind)."""
    found = site.areas.manifest(WORKSPACE)
    assert found is not None
    assert set(found["outputs"]) == set(current)
    bytes_of = {path: (run.files / path).read_bytes() for path, (run, _kind) in current.items()}
    high = site.view(site.high)
    assert {path: high[path] for path in bytes_of} == bytes_of
    assert set(high) == {*bytes_of, *(f"metadata/{action}.log" for action in found["actions"])}

    medium = site.view(site.medium)
    shown = {path for path, (_run, kind) in current.items() if kind == "shown"}
    assert {path: medium[path] for path in shown} == {path: bytes_of[path] for path in shown}
    logs = {f"metadata/{action}.log.txt" for action in found["actions"]}
    notices = set(medium) - shown - logs
    assert logs <= set(medium)
    kept_out = {path for path, (_run, kind) in current.items() if kind == "kept out"}
    assert len(notices) == len(kept_out)
    for path in kept_out:
        # The plain name, unless something that the medium area may tell of has it.
        others = {other for other, (_run, kind) in current.items() if kind != "highly sensitive"}
        if names.Tree(others).has_room_for(f"{path}.txt"):
            assert f"{path}.txt" in notices
    assert not any(medium[path] in bytes_of.values() for path in notices)
    # Who has only the manifest of the medium area knows the same names.
    assert manifest.notice_paths(manifest.medium_part(found)) == manifest.notice_paths(found)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(runs, min_size=1, max_size=5))
def test_every_output_and_every_notice_is_there_whatever_the_names(
    sequence: list[tuple[str, dict[str, str], set[str] | None]],
) -> None:
    # What collecting lets through.
    sequence = [one for one in sequence if not list(names.collisions(one[1], ()))]
    assume(sequence)
    with tempfile.TemporaryDirectory() as root:
        site = Site(Path(root))
        current: dict[str, tuple[RunRecord, str]] = {}
        for number, (action, kind_of, actions) in enumerate(sequence):
            record = run_of(site, number, action, kind_of)
            tree = names.Tree(kind_of)
            others = {path: one for path, one in current.items() if one[0].facts.action != action}
            in_the_way = {path for path in others if not tree.has_room_for(path)}
            owners = {others[path][0].facts.action for path in in_the_way}
            if owners & (set(ACTIONS) if actions is None else actions):
                with pytest.raises(OutputsRefused):
                    site.publish(record, actions=actions)
            else:
                assert site.publish(record, actions=actions)
                current = {path: one for path, one in others.items() if path not in in_the_way}
                current |= {path: (record, kind) for path, kind in kind_of.items()}
            if current:
                require_views(site, current)
