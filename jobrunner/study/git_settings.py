"""Environment and configuration of every git that we start: built from nothing, one protection a line.

threats.md section 5 items 5 and 6.
"""

from __future__ import annotations

import base64
from pathlib import Path

from jobrunner.study.addresses import Address, curl_pin
from jobrunner.study.git_program import SEARCH_PATH
from jobrunner.study.repository_url import RepositoryUrl
from jobrunner.study.rules import GitRules, Limits

_ENVIRONMENT = {
    "PATH": SEARCH_PATH,
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
}

_CONFIGURATION = (
    "core.hooksPath=/dev/null",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "init.templateDir=",
    "credential.helper=",
    "http.followRedirects=false",
    "protocol.version=2",
    "fetch.fsckObjects=true",
    "fetch.uriProtocols=",
    "transfer.bundleURI=false",
    # One pack file for each fetch, so that the size limit of a file limits the fetch.
    "fetch.unpackLimit=1",
    "gc.auto=0",
    "maintenance.auto=false",
    "submodule.recurse=false",
    "safe.bareRepository=explicit",
    # Each thread holds whole objects in memory; more of them would reach the memory limit sooner.
    "pack.threads=2",
    "core.packedGitWindowSize=64m",
    "core.packedGitLimit=512m",
)


def local_environment() -> dict[str, str]:
    """For a git that reads the mirror: no protocol is allowed, so nothing can be fetched on the way."""
    return {**_ENVIRONMENT, "GIT_ALLOW_PROTOCOL": ""}


def fetch_environment(url: RepositoryUrl, rules: GitRules, trace: Path) -> dict[str, str]:
    """For the one git that talks to the host of `url`; it writes what it does to the file `trace`."""
    environment = {
        **_ENVIRONMENT,
        "GIT_ALLOW_PROTOCOL": url.scheme,
        "GIT_TRACE2_EVENT": str(trace),
    }
    if (token := rules.tokens.get(url.netloc)) is not None:
        # Not in the URL and not in argv, where others could read it; and for this host alone.
        basic = base64.b64encode(f"x-access-token:{token}".encode("ascii")).decode("ascii")
        environment["GIT_CONFIG_COUNT"] = "1"
        environment["GIT_CONFIG_KEY_0"] = f"http.{url.scheme}://{url.netloc}/.extraHeader"
        environment["GIT_CONFIG_VALUE_0"] = f"Authorization: Basic {basic}"
    return environment


def local_options() -> list[str]:
    """The `-c` options of a git that reads the mirror."""
    return _as_options(_CONFIGURATION)


def fetch_options(url: RepositoryUrl, rules: GitRules, addresses: tuple[Address, ...]) -> list[str]:
    """The `-c` options of the git that talks to the host."""
    limits: Limits = rules.limits
    return _as_options(
        (
            *_CONFIGURATION,
            f"http.curloptResolve={curl_pin(url, addresses)}",
            f"http.lowSpeedLimit={limits.stall_bytes}",
            f"http.lowSpeedTime={limits.stall_seconds}",
            *(f"fetch.fsck.{fault}=ignore" for fault in sorted(rules.tolerated_faults)),
        )
    )


def _as_options(settings: tuple[str, ...]) -> list[str]:
    return [word for setting in settings for word in ("-c", setting)]
