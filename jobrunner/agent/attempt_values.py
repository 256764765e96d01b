"""What follows from an attempt's row in the journal: names, folders, the run to be made, how it ended."""

from pathlib import Path
from typing import Final

from jobrunner.agent.attempt_rows import Attempt
from jobrunner.agent.dispatch import uid_of
from jobrunner.agent.outcome import Outcome
from jobrunner.agent.policy import Site
from jobrunner.executors.base import ActionRun, Exit, Limits
from jobrunner.executors.ends import fault_of
from jobrunner.pipeline.starting import output_folders
from jobrunner.sync.identity import workspace_name
from jobrunner.sync.vocabulary import ExitClass, Reason

_EXIT_FACTS: Final = ("status", "out_of_memory", "out_of_time", "out_of_disk", "started", "finished")


def workspace_of(attempt: Attempt) -> str:
    """Name of the workspace that the attempt's outputs belong to."""
    return workspace_name(attempt.offer.project, attempt.offer.repo, attempt.offer.branch)


def staging_name(attempt: Attempt) -> str:
    """Name of the folder with the view of an attempt's inputs."""
    return f"{attempt.job_id}-{attempt.number}"


def staging_folder(site: Site, attempt: Attempt) -> Path:
    """The view of an attempt's inputs: on the file system of the high area, since it is hard links."""
    return site.high / "staging" / staging_name(attempt)


def is_database(attempt: Attempt) -> bool:
    """Whether the commit says that it is a database action; False before the commit was read."""
    return attempt.facts.get("dataset") is not None


def action_run(site: Site, limits: Limits, attempt: Attempt) -> ActionRun:
    """The run as the executor wants it; only for attempts whose fetch is done."""
    facts = attempt.facts
    uid = uid_of(facts["slot"])
    return ActionRun(
        agent_id=site.policy.backend,
        job_id=attempt.job_id,
        attempt=attempt.number,
        image_id=facts["image_id"],
        entrypoint=tuple(facts["entrypoint"]),
        argv=tuple(facts["argv"]),
        uid=uid,
        gid=uid,
        tree=Path(facts["tree_folder"]),
        inputs=staging_folder(site, attempt) if facts["needs"] else None,
        folders=output_folders(pattern for pattern, _level in facts["patterns"]),
        limits=limits,
        runtime=site.policy.sandbox.runtime,
        environment=facts["environment"],
        database=site.database if is_database(attempt) else None,
    )


def exit_facts(done: Exit) -> dict[str, int | bool]:
    """An exit as facts for the journal."""
    return {name: getattr(done, name) for name in _EXIT_FACTS}


def exit_outcome(attempt: Attempt) -> Outcome | None:
    """How a command that did not end well is reported; None for exit status 0 within its limits."""
    fault = fault_of(Exit(**{name: attempt.facts[name] for name in _EXIT_FACTS}))
    if fault is None:
        return None
    return Outcome(ExitClass.FAILED, Reason(fault.reason), "", fault.message)
