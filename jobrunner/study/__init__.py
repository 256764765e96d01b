"""A pinned commit of a study repository becomes a checked tree on disk.

    mirrors = Mirrors(state / "mirrors", rules)
    pinned = mirrors.pin(url, branch, commit)
    text = pinned.read_file("project.yaml", 5_000_001)
    folder = extract(pinned, state / "trees", rules)

threats.md section 5.
"""

from jobrunner.study.errors import (
    CommitNotFound,
    CommitNotOnBranch,
    IntakeError,
    PipelineMissing,
    RepositoryNotAllowed,
    TreeRefused,
    Unreachable,
)
from jobrunner.study.extraction import extract
from jobrunner.study.git_program import GitUnusable
from jobrunner.study.mirrors import Mirrors
from jobrunner.study.pinned import PinnedCommit
from jobrunner.study.references import check_branch, check_commit
from jobrunner.study.repository_url import RepositoryUrl, parse_repository_url
from jobrunner.study.rules import GitRules, Limits
from jobrunner.study.stop import Stop, Stopped

__all__ = [
    "CommitNotFound",
    "CommitNotOnBranch",
    "GitRules",
    "GitUnusable",
    "IntakeError",
    "Limits",
    "Mirrors",
    "PinnedCommit",
    "PipelineMissing",
    "RepositoryNotAllowed",
    "RepositoryUrl",
    "Stop",
    "Stopped",
    "TreeRefused",
    "Unreachable",
    "check_branch",
    "check_commit",
    "extract",
    "parse_repository_url",
]
