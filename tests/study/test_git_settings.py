"""Every git is started with the settings of threats.md section 5 items 5 to 7, and no others.

What each keeps away is tried in tests/attacks/test_G_git_intake.py where no other wall stands before it; the
addresses, names and objects that could make use of the rest are refused earlier.
"""

import ipaddress
from pathlib import Path

import pytest

from jobrunner.study import fetch
from jobrunner.study.deadline import Deadline
from jobrunner.study.git_settings import fetch_environment, fetch_options, local_environment, local_options
from jobrunner.study.repository_url import parse_repository_url
from jobrunner.study.rules import GitRules

pytestmark = pytest.mark.unit

RULES = GitRules(("https://git.example",))
URL = parse_repository_url("https://git.example/org/study", RULES)
ADDRESS = (ipaddress.ip_address("192.0.2.7"),)
EVERYWHERE = {
    "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0", "GIT_NO_REPLACE_OBJECTS": "1",
}  # fmt: skip
SETTINGS = {
    "core.hooksPath": "/dev/null", "core.fsmonitor": "false", "core.attributesFile": "/dev/null",
    "init.templateDir": "", "credential.helper": "", "http.followRedirects": "false", "protocol.version": "2",
    "fetch.fsckObjects": "true", "fetch.uriProtocols": "", "transfer.bundleURI": "false",
    "fetch.unpackLimit": "1", "gc.auto": "0", "maintenance.auto": "false", "submodule.recurse": "false",
    "safe.bareRepository": "explicit", "pack.threads": "2", "core.packedGitWindowSize": "64m",
    "core.packedGitLimit": "512m",
}  # fmt: skip


def settings(options: list[str]) -> dict[str, str]:
    assert options[::2] == ["-c"] * (len(options) // 2)
    return dict(option.split("=", 1) for option in options[1::2])


def test_the_environment_is_that_of_the_specification(tmp_path: Path) -> None:
    local, fetching = local_environment(), fetch_environment(URL, RULES, tmp_path / "trace")
    assert local.pop("PATH") == fetching.pop("PATH")
    assert local == {**EVERYWHERE, "GIT_ALLOW_PROTOCOL": ""}
    own = {"GIT_ALLOW_PROTOCOL": "https", "GIT_TRACE2_EVENT": str(tmp_path / "trace")}
    assert fetching == {**EVERYWHERE, **own}


def test_the_configuration_is_that_of_the_specification() -> None:
    assert settings(local_options()) == SETTINGS
    fetching = settings(fetch_options(URL, RULES, ADDRESS))
    assert {name: fetching.pop(name) for name in SETTINGS} == SETTINGS
    assert fetching == {
        "http.curloptResolve": "git.example:443:192.0.2.7", "http.lowSpeedLimit": "1000",
        "http.lowSpeedTime": "30",
    }  # fmt: skip


def test_the_words_of_a_fetch_are_those_of_the_specification(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[str]] = []

    def started(_mirror: Path, _options: list[str], words: list[str], **_more: object) -> None:
        asked.append(words)
        raise InterruptedError

    monkeypatch.setattr(fetch, "start_git", started)
    with pytest.raises(InterruptedError):
        fetch.fetch_branch(tmp_path, URL, "main", RULES, ADDRESS, Deadline.after(5, None), 0)
    [words] = asked
    assert words[: words.index(URL.text)] == [
        "fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--refmap=",
        "--end-of-options",
    ]  # fmt: skip
    assert words[words.index(URL.text) + 1] == f"+refs/heads/main:{fetch.local_ref('main')}"
