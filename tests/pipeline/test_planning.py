"""What a request runs, and in which order."""

import time
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobrunner.pipeline import Action, Pipeline, Plan, RequestProblem, load, plan, run_all_order

pytestmark = pytest.mark.unit


def pipeline_of(needs: Mapping[str, Sequence[str]], image: str = "r") -> Pipeline:
    actions = {
        name: Action(
            name,
            image,
            "v2",
            (),
            tuple(sorted(others)),
            {"highly_sensitive": {"a": f"{name}.csv"}},
            None,
            False,
        )
        for name, others in needs.items()
    }
    return Pipeline("5.0", None, actions)


#: report needs model, model needs extract; `other` stands alone.
CHAIN = pipeline_of({"report": ["model"], "model": ["extract"], "other": [], "extract": []})


def planned(
    requested: list[str],
    succeeded: str = "",
    active: str = "",
    force: bool = False,
    pipeline: Pipeline = CHAIN,
) -> Plan:
    return plan(
        pipeline, requested, succeeded=set(succeeded.split()), active=set(active.split()), force=force
    )


def test_needs_without_a_succeeded_run_run_too() -> None:
    assert planned(["report"]) == Plan(("extract", "model", "report"), (), (), None)


def test_succeeded_needs_are_reused_and_theirs_are_not_looked_at() -> None:
    assert planned(["report"], succeeded="model") == Plan(("report",), ("model",), (), None)


def test_a_named_action_runs_again() -> None:
    assert planned(["model"], succeeded="model extract") == Plan(("model",), ("extract",), (), None)


def test_force_runs_the_needs_too() -> None:
    found = planned(["report"], succeeded="model extract report", force=True)

    assert found == Plan(("extract", "model", "report"), (), (), None)


def test_a_need_that_is_active_is_waited_for() -> None:
    assert planned(["report"], active="model") == Plan(("report",), (), ("model",), None)
    assert planned(["report"], succeeded="model", active="model", force=True) == Plan(
        ("report",), (), ("model",), None
    )


def test_an_active_named_action_is_not_planned_again() -> None:
    found = planned(["report", "other"], active="report")

    assert found == Plan(("other",), (), (), None)


def test_nothing_to_do_when_all_are_active() -> None:
    found = planned(["report", "other"], active="report other")

    assert found.to_run == ()
    assert found.nothing_to_do == "Every action asked for is already waiting or running in this workspace."


def test_run_all_takes_its_actions_as_needs() -> None:
    assert planned(["run_all"], succeeded="extract other").to_run == ("model", "report")
    assert planned(["run_all"], succeeded="report model extract other", force=True).to_run == (
        "other", "extract", "model", "report"
    )  # fmt: skip


def test_run_all_with_a_named_action_runs_that_one_again() -> None:
    assert planned(["run_all", "other"], succeeded="report model extract other").to_run == ("other",)


def test_nothing_to_do_when_all_has_succeeded() -> None:
    found = planned(["run_all"], succeeded="report model extract other")

    assert found.to_run == ()
    assert found.reused == ("report", "model", "other", "extract")
    assert found.nothing_to_do is not None
    assert "already succeeded" in found.nothing_to_do


def test_nothing_to_do_in_a_file_without_actions() -> None:
    found = planned(["run_all"], pipeline=pipeline_of({}))

    assert found.nothing_to_do == "The file has no actions, so there is nothing to run."


def test_an_action_called_run_all_runs_only_as_a_need() -> None:
    pipeline = pipeline_of({"run_all": [], "a": []})
    needed = pipeline_of({"run_all": [], "a": ["run_all"]})

    assert planned(["run_all"], pipeline=pipeline).to_run == ("a",)
    assert run_all_order(pipeline.actions) == ("a",)
    assert planned(["run_all"], pipeline=needed).to_run == ("run_all", "a")
    assert run_all_order(needed.actions) == ("run_all", "a")


def test_nothing_asked_for() -> None:
    with pytest.raises(RequestProblem) as caught:
        planned([])

    assert caught.value.id == "RQ003"
    assert "run_all" in caught.value.message


def test_unknown_actions() -> None:
    with pytest.raises(RequestProblem) as caught:
        planned(["modl", "report", "zzz"])

    assert [rule for rule, _ in caught.value.problems] == ["RQ004", "RQ004"]
    assert caught.value.message == (
        "There is no action `modl`. Did you mean `model`? "
        "The file has: `report`, `model`, `other`, `extract`."
    )


def test_retired_runtimes_cannot_run_but_can_be_reused() -> None:
    pipeline = pipeline_of({"old": [], "new": ["old"]}, image="cohortextractor")

    with pytest.raises(RequestProblem) as caught:
        planned(["old"], pipeline=pipeline)

    assert caught.value.id == "RQ014"
    assert "`cohortextractor`" in caught.value.message
    mixed = Pipeline(
        "4.0", None, {"old": pipeline.actions["old"], "new": pipeline_of({"new": ["old"]}).actions["new"]}
    )
    assert planned(["new"], succeeded="old", pipeline=mixed).to_run == ("new",)


@st.composite
def acyclic(draw: st.DrawFn) -> dict[str, list[str]]:
    names = [f"a{number}" for number in range(draw(st.integers(0, 12)))]
    order = draw(st.permutations(names))
    needs = {
        name: draw(st.lists(st.sampled_from(order[:index]), max_size=4)) if index else []
        for index, name in enumerate(order)
    }
    return {name: needs[name] for name in names}


@given(acyclic())
def test_run_all_order_respects_needs(needs: dict[str, list[str]]) -> None:
    actions = pipeline_of(needs).actions

    order = run_all_order(actions)

    assert sorted(order) == sorted(needs)
    for name, others in needs.items():
        assert all(order.index(other) < order.index(name) for other in others)
    listed: set[str] = set()
    for name in order:
        free = [one for one in needs if one not in listed and listed.issuperset(needs[one])]
        assert name == free[0]
        listed.add(name)


@given(acyclic(), st.data())
def test_plan_is_what_the_design_says(needs: dict[str, list[str]], data: st.DataObject) -> None:
    if not needs:
        return
    some = st.sets(st.sampled_from(sorted(needs)))
    requested = sorted(data.draw(st.sets(st.sampled_from(sorted(needs)), min_size=1)))
    succeeded, active, force = data.draw(some), data.draw(some), data.draw(st.booleans())

    found = plan(pipeline_of(needs), requested, succeeded=succeeded, active=active, force=force)

    to_run = set(found.to_run)
    assert not to_run & active
    assert set(requested) - active <= to_run
    assert not to_run & set(found.reused)
    assert set(found.waits_for) <= active
    assert bool(to_run) != bool(found.nothing_to_do)
    for name in to_run:
        assert name in requested or force or name not in succeeded
        for need in needs[name]:
            assert need in to_run or need in found.reused or need in found.waits_for
    for position, name in enumerate(found.to_run):
        assert not set(needs[name]) & set(found.to_run[position:])


def test_thousands_of_actions_are_planned_in_linear_time() -> None:
    chain = pipeline_of({f"a{n}": [f"a{n - 1}"] if n else [] for n in range(20_000)})
    wide = pipeline_of({**{f"a{n}": [] for n in range(10_000)}, "all": [f"a{n}" for n in range(10_000)]})

    started = time.perf_counter()
    assert len(planned(["run_all"], pipeline=chain).to_run) == 20_000
    assert len(planned([f"a{n}" for n in range(20_000)], pipeline=chain).to_run) == 20_000
    assert len(planned(["all"], pipeline=wide).to_run) == 10_001
    assert run_all_order(chain.actions)[-1] == "a19999"
    assert time.perf_counter() - started < 5


def test_order_of_a_loaded_file() -> None:
    text = "version: 5\nactions:\n"
    for name, needs in {"c": "[b, b]", "b": "[a]", "d": "[]", "a": "[]"}.items():
        outputs = f"{{highly_sensitive: {{t: {name}.csv}}}}"
        text += f"  {name}: {{run: 'r:v2 {name}', needs: {needs}, outputs: {outputs}}}\n"
    loaded = load(text.encode())

    assert loaded.pipeline is not None
    assert loaded.pipeline.actions["c"].needs == ("b", "b")
    assert run_all_order(loaded.pipeline.actions) == ("d", "a", "b", "c")
