"""The system calls that a job may make: `seccomp.json` beside this file (threats.md section 2).

What the list does not name is denied. It holds for the machine's native calls only: those of other
architectures have other numbers and would pass by the rules on arguments. It is ours, since the lists that
engines bring differ by version and let calls through that no network namespace bounds, such as vsock.
"""

import json
from importlib.resources import files
from typing import Any, Final

_LARGEST_BYTES: Final = 64 * 1024


def allowed_calls() -> str:
    """Our list as compact JSON, which is what the engine takes. Raises ValueError when it is not one."""
    return compact(files(__package__).joinpath("seccomp.json").read_text(encoding="ascii"))


def compact(text: str) -> str:
    """A list without its comments and in one form.

    Raises ValueError for one that would not deny by default: an engine takes an empty one as "no filter".
    """
    if len(text) > _LARGEST_BYTES:
        raise ValueError("a list of allowed calls is not that long")
    profile: dict[str, Any] = json.loads(text)
    if profile.get("defaultAction") != "SCMP_ACT_ERRNO":
        raise ValueError("a list of allowed calls must deny what it does not name")
    if not profile.get("syscalls"):
        raise ValueError("a list of allowed calls must name some")
    if any(entry["subArchitectures"] for entry in profile["archMap"]):
        raise ValueError("a list of allowed calls must be for native calls only")
    for entry in profile["syscalls"]:
        entry.pop("comment", None)
    return json.dumps(profile, separators=(",", ":"), sort_keys=True)
