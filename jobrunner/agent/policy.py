"""The site's policy: one TOML file owned by the people who run the data centre (wall W12 of threats.md).

Everything that the agent may do stands here or in a signed approval; no message from outside can widen it.
"""

import hashlib
import os
import re
import stat
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from jobrunner.agent.database_policy import DatabaseSection, fault_of_file, fault_of_section
from jobrunner.agent.hook_policy import HookSection, fault_of_program
from jobrunner.agent.policy_toml import toml_values
from jobrunner.agent.policy_wording import name_text, problems
from jobrunner.executors.base import Limits
from jobrunner.executors.database import VARIABLE, Database
from jobrunner.study import GitRules
from jobrunner.sync.address import InsecureController, check_address
from jobrunner.sync.client import Endpoint
from jobrunner.sync.messages import Slug

ENTRYPOINT_LIMIT: Final = 16
MOST_SLOTS: Final = 64
"""As many places as the agent can tell the controller of (`messages.Slots`)."""
_IMAGE_NAME: Final = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}:v[0-9.]+(-pre)?|[A-Za-z0-9][A-Za-z0-9._-]{0,99}:dev"
)
# With less the engine would set no limit at all.
_FEWEST_CORES: Final = 0.01
# Each file's entry takes 256 bytes of the disk; with fewer than this a file the disk cannot be made or used.
_BYTES_AN_INODE: Final = 1024
_UNSAFE_BITS: Final = stat.S_IWGRP | stat.S_IWOTH


_PathText = Annotated[str, StringConstraints(pattern=r"^[^\x00]+$")]
_Text = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$")]
_VariableName = Annotated[str, StringConstraints(pattern=r"^[^=\x00]+$")]


class PolicyProblem(Exception):
    """The agent will not start. The text names the setting and says what to do."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class ControllerSection(_Section):
    """Where the controller is and how the agent proves itself to it."""

    url: str
    credential_file: _PathText = "credential"
    ca_file: _PathText | None = None


class KeysSection(_Section):
    """The agent's own key, with which it signs every event."""

    agent_key_file: _PathText = "agent_key.pem"


class FoldersSection(_Section):
    """Where things lie. `high` and everything in it is for later actions only; people look at `medium`."""

    high: _PathText
    medium: _PathText
    state: _PathText
    cache: _PathText


class ApprovalsSection(_Section):
    """Whose signatures count on an approval."""

    allowed_signers: _PathText = "allowed_signers"
    revoked: _PathText | None = None
    threshold: Annotated[int, Field(ge=1, le=8)] = 1
    database_threshold: Annotated[int, Field(ge=1, le=8)] | None = None


class GitSection(_Section):
    """Which repositories may be fetched."""

    allowed: Annotated[tuple[str, ...], Field(min_length=1, max_length=64)]
    private_addresses: tuple[str, ...] = ()
    token_files: dict[str, _PathText] = {}


class ReusableActionsSection(_Section):
    """Whose reusable actions may run: those of repositories directly below `prefix`, an owner's address."""

    prefix: str


class ImageSection(_Section):
    """What `name:version` of a pipeline file means at this site."""

    id: Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
    entrypoint: Annotated[tuple[_Text, ...], Field(min_length=1, max_length=ENTRYPOINT_LIMIT)]
    environment: dict[_VariableName, _Text] = {}


class HostSection(_Section):
    """What this machine gives to all jobs together (`capacity.places`), and keeps free (`host_watch`)."""

    cores: Annotated[float, Field(ge=_FEWEST_CORES, le=65536)] | None = None
    memory_mib: Annotated[int, Field(ge=16)] | None = None
    least_free_percent: Annotated[int, Field(ge=1, le=90)] = 10


class SandboxSection(_Section):
    """Which OCI runtime runs jobs. A runtime whose canary fails runs none."""

    runtime: Literal["runc", "runsc"] = "runc"


class LimitsSection(_Section):
    """Numbers of the sandbox, for each job; each may be lowered here, and raised only here.

    `slots` is how many jobs run at once; None means as many as fit.
    """

    slots: Annotated[int, Field(ge=1, le=MOST_SLOTS)] | None = None
    pids: Annotated[int, Field(ge=1, le=65536)] = 512
    memory_mib: Annotated[int, Field(ge=16)] = 8192
    cores: Annotated[float, Field(ge=_FEWEST_CORES, le=1024)] = 2.0
    disk_mib: Annotated[int, Field(ge=16)] = 20480
    inodes: Annotated[int, Field(ge=1000)] = 1_000_000
    wall_clock_s: Annotated[int, Field(ge=1, le=2_592_000)] = 86400
    stop_s: Annotated[int, Field(ge=1, le=300)] = 10


class Policy(_Section):
    """The whole file. Paths are relative to the folder that the file is in."""

    mode: Literal["production", "dev", "test"]
    backend: Slug
    controller: ControllerSection
    keys: KeysSection = KeysSection()
    folders: FoldersSection
    approvals: ApprovalsSection = ApprovalsSection()
    git: GitSection
    reusable_actions: ReusableActionsSection | None = None
    hook: HookSection | None = None
    host: HostSection = HostSection()
    limits: LimitsSection = LimitsSection()
    sandbox: SandboxSection = SandboxSection()
    projects: tuple[Slug, ...] = ()
    time_grain_s: Annotated[int, Field(ge=1, le=3600)] = 1
    images: dict[str, ImageSection]
    database: DatabaseSection | None = None


class Site:
    """The policy with its files read and its paths made absolute.

    Attributes: `policy`, `digest` (sha256 of the policy file's bytes), `high`, `medium`, `state`, `cache`
    (folders), `endpoint`, `git_rules`, `limits`, `database` (what database actions read, or None),
    `database_slots` (how many of them may run at once; 0 without a database), `hook` (the program that is
    asked about each job, with no link on its way, or None).
    """

    def __init__(self, policy: Policy, digest: str, base: Path) -> None:
        self.policy = policy
        self.digest = digest
        self._base = base
        self.high = self.path(policy.folders.high)
        self.medium = self.path(policy.folders.medium)
        self.state = self.path(policy.folders.state)
        self.cache = self.path(policy.folders.cache)
        self.agent_key = self.path(policy.keys.agent_key_file)
        self.allowed_signers = self.path(policy.approvals.allowed_signers)
        self.revoked = self.path(policy.approvals.revoked) if policy.approvals.revoked else None
        section = policy.database
        self.database = Database(section.kind, self.path(section.file)) if section else None
        self.database_slots = section.slots if section else 0
        self.hook = self.path(policy.hook.program).resolve() if policy.hook else None

    def path(self, text: str) -> Path:
        """A path of the policy file, relative to the folder of that file."""
        return self._base / text

    @property
    def _not_production(self) -> bool:
        return self.policy.mode != "production"

    def controller_url(self) -> str:
        """The controller's address; raises PolicyProblem."""
        try:
            return check_address(self.policy.controller.url, allow_loopback_http=self._not_production)
        except InsecureController as error:
            raise PolicyProblem(f"controller.url: {error}") from error

    def endpoint(self) -> Endpoint:
        """The controller's address and the credential, read from its file; raises PolicyProblem."""
        section = self.policy.controller
        url = self.controller_url()
        credential = _read_secret(self.path(section.credential_file), "controller.credential_file")
        if len(credential) < 32:
            raise PolicyProblem(
                "controller.credential_file: the credential is too short to be one; "
                "paste what `jobrunner controller create-backend` printed."
            )
        ca_file = str(self.path(section.ca_file)) if section.ca_file else None
        return Endpoint(url=url, credential=credential, ca_file=ca_file)

    def git_rules(self) -> GitRules:
        """What git may reach, with tokens read from their files; raises PolicyProblem."""
        section = self.policy.git
        if not self._not_production and any(not entry.startswith("https://") for entry in section.allowed):
            raise PolicyProblem("git.allowed: in mode production every entry begins with https://.")
        try:
            return self._rules(section.allowed, self._git_tokens())
        except ValueError as error:
            raise PolicyProblem(f"git: {error}.") from error

    def reusable_rules(self) -> GitRules | None:
        """What git may reach for reusable actions; None where the site runs none. Raises PolicyProblem."""
        section = self.policy.reusable_actions
        if section is None:
            return None
        setting = "reusable_actions.prefix"
        if not self._not_production and not section.prefix.startswith("https://"):
            raise PolicyProblem(f"{setting}: in mode production it begins with https://.")
        try:
            (owner,) = self._rules((section.prefix,), {}).prefixes
            tokens = {host: token for host, token in self._git_tokens().items() if host == owner.netloc}
            rules = self._rules((section.prefix,), tokens)
        except ValueError as error:
            raise PolicyProblem(f"{setting}: {error}.") from error
        if not owner.segments:
            raise PolicyProblem(f"{setting}: name an owner too, such as https://github.com/owner.")
        return rules

    def _git_tokens(self) -> dict[str, str]:
        return {
            host: _read_secret(self.path(name), f"git.token_files.{host}")
            for host, name in self.policy.git.token_files.items()
        }

    def _rules(self, prefixes: tuple[str, ...], tokens: dict[str, str]) -> GitRules:
        return GitRules(
            allowed_prefixes=prefixes,
            allow_loopback_http=self._not_production,
            allow_private_addresses=frozenset(self.policy.git.private_addresses),
            tokens=tokens,
        )

    def check_database(self) -> None:
        """Raise PolicyProblem when the database file cannot be handed to jobs."""
        if self.policy.database is None or self.database is None:
            return
        fault = fault_of_file(self.database, public=self.policy.database.public, cache=self.cache)
        if fault is not None:
            raise PolicyProblem(f"database.{fault}")

    def check_hook(self) -> None:
        """Raise PolicyProblem when anybody but root could decide what the hook is."""
        fault = None if self.hook is None else fault_of_program(self.hook)
        if fault is not None:
            raise PolicyProblem(f"hook.program: {fault}.")

    def limits(self) -> Limits:
        """The sandbox's numbers of this site."""
        section = self.policy.limits
        return Limits(
            pids=section.pids,
            memory=section.memory_mib * 2**20,
            nano_cpus=int(section.cores * 1e9),
            disk=section.disk_mib * 2**20,
            inodes=section.inodes,
            wall_clock_s=section.wall_clock_s,
            stop_s=section.stop_s,
        )


def _read_secret(path: Path, setting: str) -> str:
    try:
        check_private(path, setting, readable_by_others=False)
        return path.read_text(encoding="ascii").strip()
    except PermissionError as error:
        raise PolicyProblem(f"{setting}: this user may not read {path}; be root.") from error
    except (OSError, UnicodeDecodeError) as error:
        raise PolicyProblem(f"{setting}: {path} cannot be read; put the secret there, mode 0600.") from error


def check_private(path: Path, setting: str, *, readable_by_others: bool = True) -> None:
    """Raise PolicyProblem unless only the agent's own user (or root) can change the file."""
    info = path.stat()
    if info.st_uid not in (0, os.geteuid()) or info.st_mode & _UNSAFE_BITS:
        raise PolicyProblem(f"{setting}: others can change {path}; chown it to root and chmod go-w.")
    if not readable_by_others and info.st_mode & (stat.S_IRGRP | stat.S_IROTH):
        raise PolicyProblem(f"{setting}: others can read {path}; chmod it to 0600.")


def _explain(error: ValidationError, values: dict[str, Any], path: Path) -> str:
    sentences = problems(error.errors(include_url=False, include_input=False, include_context=False), values)
    if len(sentences) == 1:
        return f"{path}: {sentences[0]}."
    return f"{path} has {len(sentences)} settings that are wrong.\n" + "\n".join(
        f"  {sentence}." for sentence in sentences
    )


def parse_policy(raw: bytes, path: Path) -> Policy:
    """The policy in these bytes of `path`; raises PolicyProblem with every setting that is wrong."""
    try:
        values = toml_values(raw)
    except ValueError as error:
        raise PolicyProblem(f"{path} is {error}; mend it there.") from error
    try:
        policy = Policy.model_validate(values)
    except ValidationError as error:
        raise PolicyProblem(_explain(error, values, path)) from error
    for name in policy.images:
        if _IMAGE_NAME.fullmatch(name) is None:
            raise PolicyProblem(
                f"images.{name_text(name)}: an image is named like `python:v2`, with a version or `dev`; "
                "rename it."
            )
    if policy.limits.inodes * _BYTES_AN_INODE > policy.limits.disk_mib * 2**20:
        raise PolicyProblem(
            f"limits.inodes: a disk of {policy.limits.disk_mib} MiB is too small for so many files; "
            f"allow at most {policy.limits.disk_mib * 2**20 // _BYTES_AN_INODE}, or raise limits.disk_mib."
        )
    for name, image in policy.images.items():
        if VARIABLE in image.environment:
            raise PolicyProblem(f"images.{name}.environment: {VARIABLE} comes from [database]; take it out.")
    lower = policy.approvals.database_threshold
    if lower is not None and lower < policy.approvals.threshold:
        raise PolicyProblem(
            "approvals.database_threshold: it must not be below approvals.threshold; raise it."
        )
    if policy.database is not None:
        fault = fault_of_section(
            policy.database,
            slots=policy.limits.slots or MOST_SLOTS,
            image_ids={image.id for image in policy.images.values()},
            addresses=(policy.controller.url, *policy.git.allowed, *_reusable_address(policy)),
        )
        if fault is not None:
            raise PolicyProblem(f"database.{fault}")
    return policy


def _reusable_address(policy: Policy) -> tuple[str, ...]:
    return () if policy.reusable_actions is None else (policy.reusable_actions.prefix,)


def database_of(path: Path) -> Database:
    """The database that a policy file declares, without its keys and secrets; raises PolicyProblem."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise PolicyProblem(f"{path} cannot be read; write one with `jobrunner agent init`.") from error
    site = Site(parse_policy(raw, path), hashlib.sha256(raw).hexdigest(), path.resolve().parent)
    if site.database is None:
        raise PolicyProblem(f"{path} has no [database]; declare one first.")
    return site.database


def load_site(path: Path) -> Site:
    """Read and check the policy file and the files that it names; raises PolicyProblem."""
    try:
        check_private(path, str(path))
        raw = path.read_bytes()
    except OSError as error:
        raise PolicyProblem(
            f"{path} cannot be read ({error.strerror}); name this site's policy file, or write one with "
            "`jobrunner agent init`."
        ) from error
    site = Site(parse_policy(raw, path), hashlib.sha256(raw).hexdigest(), path.resolve().parent)
    site.git_rules()
    site.reusable_rules()
    site.endpoint()
    try:
        check_private(site.agent_key, "keys.agent_key_file", readable_by_others=False)
    except OSError as error:
        raise PolicyProblem(
            f"keys.agent_key_file: {site.agent_key} cannot be read; make one with `jobrunner agent init`."
        ) from error
    site.check_hook()
    site.check_database()
    return site
