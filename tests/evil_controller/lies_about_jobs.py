"""Lies about a job: that it is another one than before, that it has not ended, that it is one at all."""

from collections.abc import Callable
from typing import Any, Final

from tests.evil_controller.lie import About, Lie, Play, offered
from tests.evil_controller.setting import Setting


def _pinned_then(change: Callable[[Setting], dict[str, Any]]) -> Play:
    def play(setting: Setting) -> About:
        first = setting.fields(approval=None)
        job = setting.offer(first)
        setting.outcome(job)
        changed = first | change(setting)
        approval = setting.approval(
            changed["project"], repos=[changed["repo"]], branches=["main", "side"], serial=1
        )
        setting.offer(changed | {"approval": approval})
        return (job, 2)

    return play


def _changed(name: str, change: Callable[[Setting], dict[str, Any]]) -> Lie:
    return Lie(
        f"pinned-{name}",
        f"a job of before, with another {name}",
        _pinned_then(change),
        "site_policy",
        "malformed",
        "came before with another",
        "wire",
    )


def _ended_job(setting: Setting) -> About:
    """A job that ran, was cancelled and has ended, as if it were new."""
    fields = setting.fields()
    job = setting.offer(fields)
    setting.runs(job)
    setting.cancel(job)
    setting.all_told()
    setting.lies_begin()
    setting.offer(fields)
    return (job, 2)


JOBS: Final[tuple[Lie, ...]] = (
    _changed("commit", lambda setting: {"commit": setting.commits.parent}),
    _changed("branch", lambda setting: {"branch": "side"}),
    _changed("repository", lambda setting: {"repo": f"{setting.host}/other"}),
    _changed("project", lambda setting: {"project": setting.project()}),
    Lie(
        "ended-job",
        "a job that has ended, once more",
        _ended_job,
        "site_policy",
        "malformed",
        "has ended here before",
        "wire",
    ),
    Lie(
        "unknown-project",
        "a project that the policy does not name",
        offered(project="heart-study"),
        "site_policy",
        "unknown_project",
        "is not in the policy",
        "wire",
    ),
    Lie(
        "unknown-action",
        "an action that the commit lacks",
        offered(action="evil"),
        "action_unknown",
        "",
        "no action 'evil'",
        "wire",
    ),
    Lie(
        "action-path",
        "`../x` as action",
        offered(action="../x"),
        "action_unknown",
        "",
        r"no action '\.\./x'",
        "wire",
    ),
    Lie(
        "action-line",
        "an action id with a line end",
        offered(action="describe\n"),
        "action_unknown",
        "",
        r"no action 'describe\\n'",
        "wire",
    ),
    Lie(
        "action-of-parent",
        "an action that only the parent commit had",
        offered(action="older"),
        "action_unknown",
        "",
        "no action 'older'",
        "wire",
    ),
)
