"""What follows from an attempt's row in the journal: names, folders, the run to be made, how it ended."""

from pathlib import Path

from jobrunner.agent.dispatch import uid_of
from jobrunner.agent.journal import Attempt
from jobrunner.agent.outcome import Outcome
from jobrunner.agent.policy import Site
from jobrunner.executors.base import ActionRun, Exit, Limits
from jobrunner.pipeline.patterns import literal_parent
from jobrunner.sync.identity import workspace_name
from jobrunner.sync.vocabulary import ExitClass, Reason


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
    folders = {literal_parent(pattern) for pattern, _level in facts["patterns"]} - {""}
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
        folders=tuple(sorted(folders)),
        limits=limits,
        environment=facts["environment"],
        database=site.database if is_database(attempt) else None,
    )


def exit_facts(done: Exit) -> dict[str, int | bool]:
    """An exit as facts for the journal."""
    return {
        "status": done.status,
        "out_of_memory": done.out_of_memory,
        "out_of_time": done.out_of_time,
        "out_of_disk": done.out_of_disk,
        "started": done.started,
        "finished": done.finished,
    }


def exit_outcome(attempt: Attempt) -> Outcome | None:
    """How a command that did not end well is reported; None for exit status 0 within its limits."""
    facts = attempt.facts
    if facts["out_of_time"]:
        return Outcome(
            ExitClass.FAILED, Reason.OUT_OF_TIME, "", "The action ran longer than the site allows."
        )
    if facts["status"] == 0:
        return None
    if facts["out_of_memory"]:
        return Outcome(
            ExitClass.FAILED, Reason.OUT_OF_MEMORY, "", "The action needed more memory than it has."
        )
    if facts["out_of_disk"]:
        return Outcome(ExitClass.FAILED, Reason.OUT_OF_DISK, "", "The action's work folder was full.")
    return Outcome(
        ExitClass.FAILED, Reason.NONZERO_EXIT, "", f"The command ended with status {facts['status']}."
    )
