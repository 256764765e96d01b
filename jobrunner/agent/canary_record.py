"""What the last canary found, kept in the state folder, and in mode test good for the next start.

A record counts only for exactly what was tried: image, engine, kernel, runtime, profile, probe and version of
this program. Sites in other modes try their sandbox at every start, whatever the record says.
"""

import hashlib
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

from jobrunner import __version__
from jobrunner.agent import clock
from jobrunner.agent.canary import LIMITS, Verdict, probe_digest
from jobrunner.agent.canary_findings import Tried
from jobrunner.executors.base import JOB_UIDS, PROFILE, ActionRun
from jobrunner.executors.engine_call import create_body

NAME: Final = "canary.json"
GOOD_FOR_S: Final = 86_400
_LARGEST_BYTES: Final = 256 * 1024


def identity(images: Sequence[str], engine_version: str, runtime: str) -> dict[str, Any]:
    """Everything that a verdict depends on, as JSON values."""
    return {
        "images": list(images),
        "engine": engine_version,
        "kernel": f"{platform.release()} {platform.version()}",
        "runtime": runtime,
        "profile": profile_digest(runtime),
        "probe": probe_digest(),
        "version": __version__,
    }


def profile_digest(runtime: str) -> str:
    """Sha256 of the create call that the profile makes of one fixed run."""
    run = ActionRun(
        agent_id="canary", job_id="a" * 26, attempt=1, image_id=f"sha256:{'0' * 64}", entrypoint=("perl",),
        argv=(), uid=JOB_UIDS[0], gid=JOB_UIDS[0], tree=Path("/"), limits=LIMITS, runtime=runtime,
    )  # fmt: skip
    body = create_body(PROFILE, run, {}, Path("/workspace"))
    closed = sorted(PROFILE.readonly_paths)
    return hashlib.sha256(json.dumps([body, closed], sort_keys=True).encode("utf-8")).hexdigest()


def keep(state: Path, about: dict[str, Any], verdict: Verdict) -> None:
    """Write the record, mode 0600. Raises OSError."""
    half = state / f"{NAME}.new"
    half.unlink(missing_ok=True)
    with os.fdopen(os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "w") as file:
        json.dump({"identity": about, "verdict": asdict(verdict)}, file)
    half.rename(state / NAME)


def trusted(state: Path, about: dict[str, Any]) -> Verdict | None:
    """The verdict of a record of exactly this, passed within a day and writable by nobody else; else None."""
    try:
        descriptor = os.open(state / NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        info = os.fstat(descriptor)
        if info.st_uid != os.geteuid() or info.st_mode & 0o077:
            return None
        text = file.read(_LARGEST_BYTES)
    try:
        record = json.loads(text)
        if record["identity"] != about:
            return None
        verdict = Verdict(**record["verdict"])
        verdict = replace(verdict, tried=tuple(Tried(**one) for one in record["verdict"]["tried"]))
        fresh = 0 <= clock.now() - verdict.at < GOOD_FOR_S
    except (ValueError, TypeError, KeyError):
        return None
    return verdict if fresh and verdict.passed else None
