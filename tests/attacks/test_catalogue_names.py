"""The catalogue against the product's own lists (threats.md section 9).

Every key of the sandbox profile, every setting of git, every reason and detail that an attempt can end with,
and every cap on trees, outputs and runs is named by a protection. The lists come from the product, so that a
new one fails here until an entry names it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import pytest

from jobrunner.agent.outcome import DETAILS
from jobrunner.executors.base import PROFILE
from jobrunner.executors.base import Limits as RunLimits
from jobrunner.privacy.outputs import CollectLimits
from jobrunner.study.git_settings import local_environment, local_options
from jobrunner.study.rules import Limits as GitLimits
from jobrunner.sync.vocabulary import REASONS_OF_EXIT, ExitClass, Reason
from tests.mutants import catalogue

pytestmark = pytest.mark.unit

ROOT: Final = Path(__file__).parents[2]
SPECIFICATION: Final = ROOT.parent / "shared/threats.md"
# Words of the closed list that nothing gives yet; each goes when its part is built.
NOT_YET: Final = {
    "reason:image_not_allowed/digest": "images are named by id in the policy (I03)",
    "reason:image_not_allowed/unverified": "images are not signed yet (I03)",
    "reason:site_policy/policy": "a policy that cannot be meant stops the start (P17), not a job",
}
# Caps that are no field of a class of limits.
OTHER_CAPS: Final = {
    "cap:collect.part_bytes",
    "cap:collect.path_bytes",
    "cap:log.tail_bytes",
    "cap:git.branch_bytes",
}


def _mapping(value: object) -> Mapping[str, Any]:
    assert isinstance(value, Mapping)
    return value


def profile_names() -> Iterator[str]:
    """One for each key; those that hold a list of settings have one for each setting."""
    yield from (f"profile:{key}" for key in PROFILE.config)
    for key, value in PROFILE.host.items():
        yield f"profile:{key}"
        if key == "LogConfig":
            yield from (f"profile:{key}.{setting}" for setting in _mapping(_mapping(value)["Config"]))
    limits = PROFILE.host["Ulimits"]
    assert isinstance(limits, tuple)
    yield from (f"profile:Ulimits.{limit['Name']}" for limit in limits)
    yield from (f"profile:Env.{name}" for name in (*PROFILE.environment, *PROFILE.database_environment))
    yield from (f"profile:database.{key}" for key in PROFILE.database_mount)
    yield from ("profile:ReadonlyPaths", "profile:seccomp")


def reason_names() -> Iterator[str]:
    """One for each detail, or for the reason where it has none; a rule's id counts as one detail."""
    for ends in (ExitClass.FAILED, ExitClass.REFUSED, ExitClass.CANCELLED):
        for reason in REASONS_OF_EXIT[ends]:
            if reason not in DETAILS:
                yield f"reason:{reason.value}"
            yield from (f"reason:{reason.value}/{detail}" for detail in DETAILS.get(reason, ()))
    yield f"reason:{Reason.PIPELINE_INVALID.value}/rule"


def cap_names() -> Iterator[str]:
    yield from (f"cap:run.{limit.name}" for limit in fields(RunLimits))
    yield from (f"cap:collect.{limit.name}" for limit in fields(CollectLimits))
    yield from (f"cap:git.{limit.name}" for limit in fields(GitLimits))
    yield from OTHER_CAPS


def git_names() -> Iterator[str]:
    """One for each setting and variable that every git gets; PATH only says where git's parts are."""
    yield from (f"git:{option.partition('=')[0]}" for option in local_options()[1::2])
    yield from (f"git:{name}" for name in local_environment() if name != "PATH")


def named() -> set[str]:
    return {
        name
        for attack in catalogue.read(ROOT)
        for protection in attack.protections
        for name in protection.names
    }


WANTED: Final = {*profile_names(), *reason_names(), *cap_names(), *git_names()}


@pytest.mark.parametrize("kind", ["profile", "git", "reason", "cap"])
def test_every_key_setting_reason_and_cap_is_named_by_a_protection(kind: str) -> None:
    missing = {name for name in WANTED - named() if name.startswith(f"{kind}:")} - set(NOT_YET)
    assert sorted(missing) == [], f"name each in `names` of an entry in {catalogue.PLACE}"


def test_no_protection_names_what_there_is_not() -> None:
    assert sorted(named() - WANTED) == []


def test_what_is_not_there_yet_is_of_the_list_and_has_no_protection() -> None:
    assert sorted(set(NOT_YET) - WANTED) == []
    assert sorted(set(NOT_YET) & named()) == []


@pytest.mark.skipif(not SPECIFICATION.exists(), reason="the specification is not beside this checkout")
def test_the_closed_list_is_that_of_the_specification() -> None:
    text = SPECIFICATION.read_text()
    rows = text.partition("Reasons. The wire has only")[2].partition("## 7.")[0]
    found = {
        reason: {word.strip() for word in words.split(",")} - {"or a rule id"}
        for reason, words in re.findall(r"(\w+) \(([a-z_, ]+)\)", rows)
        if reason in set(Reason)
    }
    assert found == {reason.value: set(details) for reason, details in DETAILS.items()}
