"""The [folders] section of the site's policy: each folder stands by itself, away from the site's own files.

In a folder of another purpose a file would have readers, or be swept away, as nobody meant it.
"""

from collections.abc import Iterator
from itertools import permutations
from pathlib import Path
from typing import Final

from jobrunner.agent.policy import PolicyProblem, Site
from jobrunner.agent.policy_wording import name_text

_FOLDERS: Final = ("high", "medium", "state", "cache")


def check_folders(site: Site, policy_file: Path) -> None:
    """Raise PolicyProblem when a folder lies in another one, or a file of the site's own in one of them.

    None of the places need exist yet.
    """
    places = {f"folders.{name}": getattr(site, name).resolve() for name in _FOLDERS}
    for (setting, place), (other, outer) in permutations(places.items(), 2):
        if place == outer:
            raise PolicyProblem(f"{setting}: {place} is {other} too; name a folder of its own.")
        if outer in place.parents:
            raise PolicyProblem(f"{setting}: {place} lies in {other} ({outer}); name a folder outside of it.")
    for named, file in (("this policy", policy_file), *_files(site)):
        around = (file.resolve(), *file.resolve().parents)
        for setting, place in places.items():
            if place in around:
                raise PolicyProblem(
                    f"{setting}: {file} ({named}) lies in it; move the file, or name another folder."
                )


def _files(site: Site) -> Iterator[tuple[str, Path]]:
    """Every file that the policy names, by its setting."""
    policy = site.policy
    names = {
        "controller.credential_file": policy.controller.credential_file,
        "controller.ca_file": policy.controller.ca_file,
        "keys.agent_key_file": policy.keys.agent_key_file,
        "approvals.allowed_signers": policy.approvals.allowed_signers,
        "approvals.revoked": policy.approvals.revoked,
        "hook.program": policy.hook.program if policy.hook else None,
        "database.file": policy.database.file if policy.database else None,
    }
    names |= {f"git.token_files.{name_text(host)}": name for host, name in policy.git.token_files.items()}
    for setting, name in names.items():
        if name is not None:
            yield setting, site.path(name)
