"""Lies about where the code is: addresses, branches and commits that are not those of the study."""

from collections.abc import Callable
from typing import Any, Final

from tests.evil_controller.lie import About, Lie, Play, offered
from tests.evil_controller.setting import Setting


def _from_side_branch(setting: Setting) -> About:
    # Its objects are in the mirror already, by an honest job that only fails to exist.
    setting.outcome(setting.offer(setting.covered(branch="side", commit=setting.commits.side, action="no")))
    return (setting.offer(setting.covered(commit=setting.commits.side)), 1)


def _commit(name: str, **changes: Any) -> Play:
    def play(setting: Setting) -> About:
        return (setting.offer(setting.covered(commit=getattr(setting.commits, name), **changes)), 1)

    return play


def _repository(name: str, tells: str, url: Callable[[Setting], str], detail: str, line: str) -> Lie:
    def play(setting: Setting) -> About:
        return (setting.offer(setting.covered(repo=url(setting))), 1)

    return Lie(f"repository-{name}", tells, play, "repository_not_allowed", detail, line, "wire")


def _branch(name: str, branch: str, line: str) -> Lie:
    return Lie(
        f"branch-{name}",
        f"`{branch}` as branch",
        offered(branch=branch),
        "commit_not_found",
        "branch",
        line,
        "wire",
    )


_NO_USER: Final = "holds a user name"
_ADDRESSES: Final = (
    _repository(
        "ext", "`ext::sh -c id` as address", lambda _: "ext::sh", "protocol", "must start with https"
    ),
    _repository(
        "ssh",
        "`ssh://-oProxyCommand=id/x`",
        lambda _: "ssh://-oProxyCommand=id/x",
        "protocol",
        "must start with https",
    ),
    _repository("file", "a file as address", lambda _: "file:///etc", "protocol", "must start with https"),
    _repository(
        "http",
        "http to a host that is not loopback",
        lambda _: "http://inside.example/studies/a",
        "protocol",
        "must start with https",
    ),
    _repository("space", "an address with a space", lambda one: one.url + " x", "url", "not plain ASCII"),
    _repository(
        "user",
        "an address with a password",
        lambda one: one.url.replace("://", "://me:secret@"),
        "url",
        _NO_USER,
    ),
    _repository(
        "port",
        "https with a port",
        lambda _: "https://inside.example:8443/studies/a",
        "url",
        "host of .* is malformed",
    ),
    _repository(
        "figures",
        "https to an address in figures",
        lambda _: "https://169.254.169.254/latest",
        "url",
        "host of .* is malformed",
    ),
    _repository(
        "capitals",
        "a host in capitals",
        lambda _: "https://INSIDE.example/studies/a",
        "url",
        "host of .* is malformed",
    ),
    _repository(
        "query", "an address with a query", lambda one: one.url + "?x=1", "url", "path of .* is malformed"
    ),
    _repository(
        "dots",
        "an address with `..`",
        lambda _: "https://inside.example/studies/../a",
        "url",
        "path of .* is malformed",
    ),
    _repository(
        "path",
        "another path of an allowed host",
        lambda _: "https://inside.example/other/a",
        "url",
        "does not cover",
    ),
    _repository(
        "alone",
        "an allowed host without a path",
        lambda _: "https://inside.example",
        "url",
        "names a host only",
    ),
    _repository(
        "host", "another host", lambda _: "https://evil.example/studies/a", "host", "names no git host"
    ),
    _repository(
        "other-port",
        "another port of the git host",
        lambda _: "http://127.0.0.1:1/study",
        "host",
        "names no git host",
    ),
    _repository(
        "inside",
        "a name that leads inside the site",
        lambda _: "https://inside.example/studies/a",
        "address",
        "not a public one",
    ),
)

REPOSITORIES: Final[tuple[Lie, ...]] = (
    *_ADDRESSES,
    Lie(
        "repository-absent",
        "a repository that the host does not have",
        lambda one: (one.offer(one.covered(repo=f"{one.host}/absent")), 1),
        "internal_error",
        "unreachable",
        "no such repository",
        "wire",
    ),
    Lie(
        "repository-broken",
        "a repository whose host answers with a page",
        lambda one: (one.offer(one.covered(repo=f"{one.host}/broken")), 1),
        "internal_error",
        "unreachable",
        "status 500",
        "wire",
    ),
    _branch("option", "--upload-pack=id", "not a branch name"),
    _branch("dots", "main..side", "not a branch name"),
    _branch("glob", "ma*n", "not a branch name"),
    _branch("whole", "refs/heads/main", "no such branch"),
    Lie(
        "branch-is-tag",
        "a tag as branch",
        _commit("tagged", branch="release"),
        "commit_not_found",
        "branch",
        "no such branch",
        "wire",
    ),
    Lie(
        "commit-of-pull",
        "a commit that only refs/pull has",
        _commit("pulled"),
        "commit_not_found",
        "commit",
        "does not hold",
        "wire",
    ),
    Lie(
        "commit-of-other",
        "a commit of another repository",
        _commit("foreign"),
        "commit_not_found",
        "commit",
        "does not hold",
        "wire",
    ),
    Lie(
        "commit-invented",
        "a commit that nobody made",
        offered(commit="1" * 40),
        "commit_not_found",
        "commit",
        "does not hold",
        "wire",
    ),
    Lie(
        "commit-of-side",
        "a commit of another branch",
        _from_side_branch,
        "commit_not_on_branch",
        "",
        "not part of the branch",
        "wire",
    ),
)
