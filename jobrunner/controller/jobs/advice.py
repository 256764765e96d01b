"""What to do after the end of a job, and where inside the data centre its log lies.

Fixed sentences, one for each final reason: nothing that the code wrote or the data held can show in them.
"""

from typing import Final

from jobrunner.controller.jobs.transitions import State

NEXT: Final[dict[tuple[State, str], str]] = {
    (
        State.SUCCEEDED,
        "completed",
    ): "Nothing needs doing. Its outputs stay inside the data centre; ask its staff how you may see them.",
    (
        State.SUCCEEDED,
        "reused",
    ): "Look at the run that serves. To run it again, name the action or ask with `--force`.",
    (
        State.FAILED,
        "nonzero_exit",
    ): "Ask the data centre's staff what its log says; mend the script, commit, and ask at the new commit.",
    (
        State.FAILED,
        "out_of_memory",
    ): "Read less at once or split the action, or ask the data centre for its limit; then ask again.",
    (State.FAILED, "out_of_time"): "Do less in one action or split it, then ask again.",
    (State.FAILED, "out_of_disk"): "Write fewer or smaller files, then ask again.",
    (
        State.FAILED,
        "outputs_missing",
    ): "Compare the paths under `outputs` with what the script writes; the staff see which one is missing.",
    (
        State.FAILED,
        "outputs_refused",
    ): "Write plain files at paths that no other action uses; the staff see which one was refused.",
    (State.FAILED, "dependency_failed"): "Mend the action that did not succeed, then ask for this one again.",
    (
        State.FAILED,
        "internal_error",
    ): "Ask again later. If it comes back, tell the data centre's staff the job's id: they see the details.",
    (
        State.REFUSED,
        "approval_missing",
    ): "Ask the project's data controller to sign an approval for this data centre.",
    (
        State.REFUSED,
        "approval_expired",
    ): "Ask the project's data controller for an approval that is valid now.",
    (
        State.REFUSED,
        "approval_invalid",
    ): "Compare the request with the approval on the project's page. If that covers it, ask the data "
    "centre's staff whether they know the key that signed it.",
    (
        State.REFUSED,
        "repository_not_allowed",
    ): "Use a repository that the approval names, or ask the data centre's staff to allow this one.",
    (State.REFUSED, "commit_not_found"): "Push the branch with the commit, then ask again.",
    (
        State.REFUSED,
        "commit_not_on_branch",
    ): "Push the commit to that branch, or name the branch that it is on, then ask again.",
    (
        State.REFUSED,
        "tree_refused",
    ): "Remove submodules, links that lead outside and odd file names, commit, and ask again.",
    (
        State.REFUSED,
        "pipeline_invalid",
    ): "Run `jobrunner check`, mend what it names, commit, and ask again.",
    (State.REFUSED, "action_unknown"): "Compare the name with project.yaml at that commit, then ask again.",
    (
        State.REFUSED,
        "image_not_allowed",
    ): "Use an image that the data centre offers, or ask its staff to add this one.",
    (
        State.REFUSED,
        "database_not_allowed",
    ): "Ask the data controller for an approval with this database, or the staff which images may use it.",
    (
        State.REFUSED,
        "site_policy",
    ): "Ask the data centre's staff: only they can see which of their rules it was.",
    (State.CANCELLED, "by_requester"): "Ask again when it shall run.",
    (State.CANCELLED, "by_controller"): "Ask the people who run this service why, before you ask again.",
    (State.CANCELLED, "by_site"): "Ask the data centre's staff why, before you ask again.",
}
"""What to do next, for each final reason; for researchers, in one sentence."""

_RAN: Final = frozenset(
    {"nonzero_exit", "out_of_memory", "out_of_time", "out_of_disk", "outputs_missing", "outputs_refused"}
)
# A site checks approval and policy again while the code runs, so these may come after it has begun.
_MAY_HAVE_RUN: Final = frozenset(
    {
        "internal_error",
        "approval_missing",
        "approval_expired",
        "approval_invalid",
        "site_policy",
        "by_requester",
        "by_controller",
        "by_site",
    }
)


def where_the_log_is(
    state: State, reason: str, *, job_id: str, attempt: int, workspace: str, action: str
) -> str:
    """Who can read the log of a job that has ended, and where (design.md section 6); "" before the end.

    What failed has its log in the highly sensitive area, which only the site's own people can look into.
    Only ids that are public anyway go into it. Paths are relative to the area that the sentence names.
    """
    if state in (State.PENDING, State.RUNNING):
        return ""
    if state is State.SUCCEEDED:
        return (
            "Permitted people inside the data centre can read its log, in the moderately sensitive area: "
            f"`workspaces/{workspace}/metadata/{action}.log`, if the file rules found nothing to block in it."
        )
    who = "the data centre's staff can read its log"
    place = f"For them it lies in the highly sensitive area: `runs/{job_id}/{attempt}/log`."
    if reason in _RAN:
        return f"Only {who}. {place}"
    if reason in _MAY_HAVE_RUN and attempt:
        return f"If its code had begun, only {who}. {place}"
    return "It has no log: its code did not run."
