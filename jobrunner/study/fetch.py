"""The one fetch: the tip of one branch of one allowed address, and perhaps one tag, into one mirror.

threats.md section 5 item 7. Neither shallow nor partial: a cut history cannot prove that a commit is on the
branch, and a partial clone fetches the rest by itself later.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from jobrunner.study.addresses import Address
from jobrunner.study.deadline import Deadline
from jobrunner.study.errors import CommitNotFound, TagNotFound, TreeRefused, Unreachable
from jobrunner.study.fetch_report import judge, read_report
from jobrunner.study.git_process import run_to_end, start_git
from jobrunner.study.git_settings import fetch_environment, fetch_options
from jobrunner.study.mirror_files import folder_bytes, mark_broken, remove_part_files
from jobrunner.study.repository_url import RepositoryUrl
from jobrunner.study.rules import GitRules

_CHECK_EVERY_S = 0.5
# Where the host lacks a ref, git takes another one whose name ends with the whole name of the first: a tag
# `refs/heads/main` would stand in for a branch `main` that was deleted. Nothing of that kind is taken.
_NEVER_MEANT = ("^refs/refs/*", "^refs/heads/refs/*", "^refs/tags/refs/*", "^refs/remotes/*")


def local_ref(branch: str) -> str:
    """Where the mirror keeps the tip of `branch`.

    Hashed, since git cannot keep `a` beside `a/b`: a branch that was deleted would block another for ever.
    """
    return f"refs/jobrunner/{hashlib.sha256(branch.encode('ascii')).hexdigest()}"


def local_tag(tag: str) -> str:
    """Where the mirror keeps what `tag` points at; no branch can have this name."""
    return f"refs/jobrunner/tag-{hashlib.sha256(tag.encode('ascii')).hexdigest()}"


def fetch_branch(
    mirror: Path,
    url: RepositoryUrl,
    branch: str,
    rules: GitRules,
    addresses: tuple[Address, ...],
    deadline: Deadline,
    lock: int,
    tag: str | None = None,
) -> None:
    """Bring `local_ref(branch)` of `mirror` to the tip that the host has now, forced or not.

    With `tag` the same is done for `local_tag(tag)`; where the host lacks both, the tag is what is missing.
    `lock` is the descriptor of the mirror's lock, which git holds too. Part files are gone afterwards.

    Raises:
        IntakeError: `judge` says which; `TreeRefused` for a limit of size or time; `Unreachable`.
        Stopped: the deadline's stop was asked.
    """
    wanted = [local_ref(branch)] if tag is None else [local_tag(tag), local_ref(branch)]
    trace = mirror.with_suffix(".trace")
    trace.unlink(missing_ok=True)
    for ref in wanted:
        _set_aside(mirror, ref)
    bytes_before = folder_bytes(mirror)

    def check() -> None:
        deadline.stop.check()
        # The limit on one file does not bound many files, which an old kind of host could send.
        if folder_bytes(mirror) > bytes_before + rules.limits.pack_bytes:
            raise TreeRefused("too_large", "The repository is larger than the site's limit for one fetch.")

    process = start_git(
        mirror,
        fetch_options(url, rules, addresses),
        [
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-recurse-submodules",
            "--refmap=",
            "--end-of-options",
            url.text,
            *([] if tag is None else [f"+refs/tags/{tag}:{local_tag(tag)}"]),
            f"+refs/heads/{branch}:{local_ref(branch)}",
            *_NEVER_MEANT,
        ],
        environment=fetch_environment(url, rules, trace),
        limits=rules.limits,
        keep_open=(lock,),
    )
    done = False
    try:
        status = run_to_end(process, lambda: deadline.left, check, _CHECK_EVERY_S)
        report = read_report(trace)
        if not report.spoke_git and folder_bytes(mirror) != bytes_before:
            # An old kind of host sent objects that nothing has checked.
            mark_broken(mirror)
        if (error := judge(status, report, url.netloc)) is not None:
            raise error
        if tag is not None and not (mirror / local_tag(tag)).is_file():
            raise TagNotFound(f"The git host {url.netloc} has no such tag.")
        if not (mirror / local_ref(branch)).is_file():
            raise CommitNotFound("branch", f"The git host {url.netloc} has no such branch.")
        done = True
    except TimeoutError:
        if not read_report(trace).spoke_git:
            raise Unreachable(f"The git host {url.netloc} did not answer. It is tried again.") from None
        raise deadline.error(f"The fetch from {url.netloc}") from None
    finally:
        trace.unlink(missing_ok=True)
        if not done:
            remove_part_files(mirror)


def _set_aside(mirror: Path, ref: str) -> None:
    """Forget what an earlier fetch left under `ref`, so that only what this one brings can be found there.

    Under its other name it still tells the host what need not be sent again.
    """
    kept = mirror / ref
    if kept.is_file():
        kept.replace(kept.with_name(f"{kept.name}-before"))
