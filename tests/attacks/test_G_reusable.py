"""Git intake of reusable actions: the agent resolves tags itself, once a request (G15 of threats.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from jobrunner.agent.derive import Derived, derive
from jobrunner.agent.journal import Journal
from jobrunner.agent.outcome import Ended
from jobrunner.agent.policy import Policy
from jobrunner.agent.reusable import ReusableActions
from jobrunner.demo.git_server import GitServer
from jobrunner.pipeline import Action
from jobrunner.study import GitRules, Mirrors, RepositoryNotAllowed, TreeRefused, Unreachable, extract
from jobrunner.study.reusable import ReusableSource
from jobrunner.sync.messages import Malformed, Offer, parse
from tests.agent.offers import offer, offer_fields
from tests.agent.policies import policy
from tests.fixtures.git_fixtures import StudyRepository, run_git, serve

pytestmark = pytest.mark.http

ACTION_YAML = "run: python:v2 python main.py\n"
PIPELINE = """\
version: "5.0"
actions:
  model:
    run: foo:v1 --in x
    outputs: {moderately_sensitive: {table: output/table.csv}}
"""


class Bench:
    """An agent's look-up of reusable actions, with a real journal, and the repository `foo` with a tag v1."""

    def __init__(self, root: Path, host: GitServer) -> None:
        self.root = root
        self.prefix = host.url("actions")
        self.foo = StudyRepository.create(root / "host", "actions/foo", {"action.yaml": ACTION_YAML})
        self.first = self.foo.head
        self.tag()
        self.rules = GitRules((self.prefix,), allow_loopback_http=True)
        self.start()

    def start(self) -> None:
        """The agent begins anew, with what its journal and mirrors hold."""
        journal = Journal(self.root / "state" / "agent.db")
        mirrors = Mirrors(self.root / "mirrors", self.rules)
        self.actions = ReusableActions(journal, self.prefix, mirrors)

    def tag(self, name: str = "v1", at: str = "HEAD") -> None:
        run_git(self.foo.work, "tag", "--force", name, at)
        run_git(self.foo.work, "push", "--quiet", "--force", str(self.foo.bare), f"refs/tags/{name}")

    def move(self) -> str:
        """Commit something else to main and move the tag there."""
        commit = self.foo.commit({"action.yaml": "run: python:v2 python evil.py\n"})
        self.tag()
        return commit

    def source(self, request: str = "one", name: str = "foo", version: str = "v1") -> ReusableSource:
        return self.actions.source(request, action(name, version))

    def refusal(self, **use: str) -> tuple[str, str]:
        with pytest.raises(Ended) as caught:
            self.source(**use)
        assert caught.value.outcome.message.startswith("Action `model` uses")
        return caught.value.outcome.reason.value, caught.value.outcome.detail


def action(name: str = "foo", version: str = "v1") -> Action:
    return Action(
        "model", name, version, ("--in", "x"), (), {"highly_sensitive": {"a": "a.csv"}}, None, False
    )


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    (tmp_path / "host").mkdir()
    with serve(tmp_path / "host") as host:
        yield Bench(tmp_path, host)


def test_G15_a_tag_that_is_moved_between_two_jobs_of_a_request_keeps_its_first_commit(bench: Bench) -> None:
    assert bench.source().commit.commit == bench.first
    moved = bench.move()
    bench.start()
    again = bench.source()
    assert again.commit.commit == bench.first
    assert again.action_file == ACTION_YAML.encode()
    # The twin: another request is a new look.
    assert bench.source(request="two").commit.commit == moved


def test_G15_of_two_jobs_that_look_at_once_the_first_in_the_journal_counts(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    pin_tag = Mirrors.pin_tag

    def overtaken(*given: object, **more: object) -> object:
        found = pin_tag(*given, **more)  # type: ignore[arg-type]
        monkeypatch.setattr(Mirrors, "pin_tag", pin_tag)
        bench.move()
        assert bench.source().commit.commit != bench.first
        return found

    monkeypatch.setattr(Mirrors, "pin_tag", overtaken)
    assert bench.source().commit.commit == bench.foo.head != bench.first


def test_G15_the_first_commit_must_still_be_on_main(bench: Bench) -> None:
    bench.source()
    run_git(bench.foo.work, "commit", "--quiet", "--amend", "--message", "another history")
    bench.foo.push(force=True)
    assert bench.refusal() == ("pipeline_invalid", "RA004")


def test_G15_a_tag_off_main_is_refused(bench: Bench) -> None:
    bench.foo.switch("side")
    bench.foo.commit({"action.yaml": "run: python:v2 python evil.py\n"})
    bench.tag("v2")
    assert bench.refusal(version="v2") == ("pipeline_invalid", "RA004")
    bench.foo.switch("main", start="side")
    bench.foo.push()
    assert bench.source(version="v2").commit.commit == bench.foo.head


def test_G15_a_missing_tag_is_refused_and_a_missing_repository_tried_again(bench: Bench) -> None:
    assert bench.refusal(version="v9") == ("pipeline_invalid", "RA003")
    with pytest.raises(Unreachable):
        bench.source(name="bar")


@pytest.mark.parametrize("name", ["../study", "foo/../../study", "foo?x", "-foo", "foo\n", "", "f" * 101])
def test_G15_an_odd_name_never_becomes_an_address(bench: Bench, name: str) -> None:
    assert bench.refusal(name=name) == ("pipeline_invalid", "RA001")


def test_G15_no_commit_can_be_given_by_the_controller() -> None:
    assert set(Offer.model_fields) == set(offer_fields())
    for field in ("code_commit", "reusable_commit", "code"):
        with pytest.raises(Malformed) as caught:
            parse(Offer, offer().to_bytes().replace(b"{", f'{{"{field}":"{"a" * 40}",'.encode(), 1))
        assert caught.value.unknown_field


def test_G15_only_the_owner_that_policy_names_is_asked(bench: Bench) -> None:
    bench.rules = GitRules((f"{bench.prefix}-evil",), allow_loopback_http=True)
    bench.start()
    with pytest.raises(RepositoryNotAllowed):
        bench.source()


@pytest.mark.parametrize(
    ("spoil", "detail"),
    [
        (lambda foo: foo.commit({}, links={"out": "../../etc/passwd"}), "symlink"),
        (lambda foo: foo.commit({}, links={"out": "/etc/passwd"}), "symlink"),
        (lambda foo: foo.commit({"lib/A.py": "", "lib/a.py": ""}), "collision"),
        (lambda foo: with_module(foo, "lib"), "gitlink"),
    ],
)
def test_G15_the_tree_of_a_reusable_action_is_refused_like_a_studys(
    bench: Bench, tmp_path: Path, spoil: Callable[[StudyRepository], object], detail: str
) -> None:
    spoil(bench.foo)
    run_git(bench.foo.bare, "tag", "v2", "main")
    source = bench.source(version="v2")
    with pytest.raises(TreeRefused) as caught:
        extract(source.commit, tmp_path / "trees", bench.rules)
    assert caught.value.detail == detail
    assert not list((tmp_path / "trees").glob("[0-9a-f]*"))
    # The twin: the tag before it is fine.
    assert (extract(bench.source().commit, tmp_path / "trees", bench.rules) / "action.yaml").exists()


def with_module(foo: StudyRepository, folder: str) -> None:
    """Another repository below `folder`, committed to main."""
    inner = foo.tree([("160000", b"inner", "1" * 40)])
    file = foo.blob(ACTION_YAML.encode())
    tree = foo.tree([("100644", b"action.yaml", file), ("40000", folder.encode(), inner)])
    commit = run_git(foo.bare, "commit-tree", tree, "-p", "main", "-m", "module")
    run_git(foo.bare, "update-ref", "refs/heads/main", commit)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 10)}]\n"
    for before, name in ("ab", "bc", "cd", "de", "ef", "fg")
)


def derived(bench: Bench, request: str) -> Derived:
    find_source = partial(bench.actions.source, request)
    return derive(PIPELINE.encode(), "model", Policy.model_validate(policy_with_tuples()), find_source)


def policy_with_tuples() -> dict[str, object]:
    values = policy()
    values["git"]["allowed"] = tuple(values["git"]["allowed"])
    for image in values["images"].values():
        image["entrypoint"] = tuple(image["entrypoint"])
    return values


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (BOMB + "run: python:v2 a.py\n", "RA007"),
        ("run: python:v2 a.py\n#" + "x" * 9_000_000, "RA007"),
        ("run: !!python/object/apply:os.system [id]\n", "RA007"),
        ("run: python:v2 'a\n", "RA008"),
        ("run: foo:v1\n", "RA009"),
        ("run: sqlrunner:v1 all.sql\n", "RA010"),
    ],
)
def test_G15_a_hostile_action_file_is_refused(bench: Bench, content: str, rule: str) -> None:
    assert derived(bench, "one").argv == ("python", "main.py", "--in", "x")
    bench.foo.commit({"action.yaml": content})
    bench.tag()
    with pytest.raises(Ended) as caught:
        derived(bench, "two")
    outcome = caught.value.outcome
    assert (outcome.reason.value, outcome.detail) == ("pipeline_invalid", rule)
    assert len(outcome.message) < 1500
