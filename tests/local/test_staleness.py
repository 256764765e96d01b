"""What makes an action run again, and that each reason is told."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner.local.records import Record
from jobrunner.local.staleness import Present, judge

pytestmark = pytest.mark.unit

A, B = "a" * 64, "b" * 64
IMAGE = f"sha256:{A}"
RECORD = Record(
    action="model",
    image="python:v2",
    image_id=IMAGE,
    argv=("analysis/model.py",),
    patterns=(("output/t.csv", "moderately_sensitive"),),
    needs=("extract",),
    inputs={"output/rows.csv": A},
    named={"analysis/model.py": A},
    others={"analysis/utils.R": A, "README.md": A},
    outputs={"output/t.csv": A},
    levels={"output/t.csv": "moderately_sensitive"},
    finished=1,
)
NOW = Present(
    image="python:v2",
    image_id=IMAGE,
    argv=("analysis/model.py",),
    patterns=(("output/t.csv", "moderately_sensitive"),),
    needs=("extract",),
    inputs={"output/rows.csv": A},
    named={"analysis/model.py": A},
    others={"analysis/utils.R": A, "README.md": A},
    outputs={"output/t.csv": A},
)


def test_nothing_changed() -> None:
    verdict = judge(RECORD, NOW)
    assert not verdict.runs
    assert verdict.why == ("definition, image, 1 named file, 1 input and 1 output are as they were",)
    assert verdict.notes == ()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"image": "python:v3"}, "its image is python:v3, and was python:v2"),
        ({"image_id": f"sha256:{B}"}, "the image python:v2 is another one than before"),
        ({"argv": ("analysis/model.py", "--x")}, "its command changed"),
        ({"needs": ()}, "its `needs` changed"),
        ({"patterns": (("output/t.csv", "highly_sensitive"),)}, "its `outputs` in project.yaml changed"),
        ({"inputs": {"output/rows.csv": B}}, "its input output/rows.csv changed"),
        ({"inputs": {}}, "its input output/rows.csv is gone"),
        ({"inputs": {"output/rows.csv": A, "output/x": A}}, "its input output/x is new"),
        ({"named": {"analysis/model.py": B}}, "analysis/model.py changed"),
        ({"named": {}}, "analysis/model.py is gone"),
        ({"outputs": {"output/t.csv": B}}, "its output output/t.csv was changed by hand"),
        ({"outputs": {}}, "its output output/t.csv was deleted"),
    ],
)
def test_each_change_runs_it_again_and_says_why(change: dict[str, object], why: str) -> None:
    verdict = judge(RECORD, replace(NOW, **change))
    assert (verdict.runs, verdict.why) == (True, (why,))


def test_other_files_are_named_and_do_not_decide() -> None:
    verdict = judge(RECORD, replace(NOW, others={"analysis/utils.R": B, "README.md": A}))
    assert not verdict.runs
    assert verdict.notes == ("analysis/utils.R changed since; --fresh runs an action again in any case.",)
    many = {f"analysis/{number}.R": B for number in range(9)} | RECORD.others
    assert judge(RECORD, replace(NOW, others=many)).notes == (
        "analysis/0.R, analysis/1.R, analysis/2.R and 6 more changed since; "
        "--fresh runs an action again in any case.",
    )


def test_without_a_record_it_runs() -> None:
    assert judge(None, NOW).why == ("it has never succeeded here",)
    assert judge(None, NOW, unreadable="it is damaged").why == (
        "what was remembered of it cannot be used (it is damaged)",
    )


def test_after_a_failure_it_runs() -> None:
    verdict = judge(RECORD.failed("out_of_memory"), NOW)
    assert verdict.why == ("it failed when it last ran (out_of_memory)",)


def test_the_option_is_named() -> None:
    assert judge(RECORD, NOW, option="--fresh").why == ("it was asked for with --fresh",)


def test_an_image_that_nobody_could_ask_for_is_told() -> None:
    verdict = judge(RECORD, replace(NOW, image_id=None))
    assert not verdict.runs
    assert "image" not in verdict.why[0]
    assert verdict.notes == (
        "The image python:v2 is not at hand, so nobody looked whether it is still the same.",
    )


_hashes = st.dictionaries(st.sampled_from(["a", "b", "c/d"]), st.sampled_from([A, B]))


@given(before=_hashes, now=_hashes, kind=st.sampled_from(["inputs", "named", "outputs"]))
def test_it_is_up_to_date_only_if_all_that_decides_is_equal(
    before: dict[str, str], now: dict[str, str], kind: str
) -> None:
    record = replace(RECORD, **{kind: before})
    if kind == "outputs":
        # Only outputs that the record names are looked at.
        now = {path: digest for path, digest in now.items() if path in before}
    verdict = judge(record, replace(NOW, **{kind: now}))
    assert verdict.runs == (before != now)
    assert verdict.why
