"""A study behind a git host, and rules that allow it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jobrunner.demo.git_server import GitRequestHandler, GitServer
from jobrunner.study import GitRules, Limits, Mirrors, PinnedCommit
from tests.fixtures.git_fixtures import StudyRepository, serve

PROJECT = "version: '4.0'\nactions: {}\n"


@dataclass
class Site:
    """One study `owner/study`, its host, and the mirrors of a site that allows the host."""

    study: StudyRepository
    host: GitServer
    root: Path

    @property
    def url(self) -> str:
        return self.host.url("owner/study")

    def rules(self, **changes: object) -> GitRules:
        return GitRules((self.host.base_url,), allow_loopback_http=True, **changes)  # type: ignore[arg-type]

    def mirrors(self, limits: Limits | None = None) -> Mirrors:
        return Mirrors(self.root / "mirrors", self.rules(limits=limits or Limits()))

    def pin(self, branch: str = "main", commit: str | None = None) -> PinnedCommit:
        return self.mirrors().pin(self.url, branch, commit or self.study.head)


@contextlib.contextmanager
def open_site(root: Path, handler: type[GitRequestHandler] = GitRequestHandler) -> Iterator[Site]:
    """The study of `PROJECT` and one script at `main`, served by `handler`."""
    files = {"project.yaml": PROJECT, "analysis/a.py": "print(1)\n"}
    study = StudyRepository.create(root / "host", "owner/study", files)
    with serve(root / "host", handler) as host:
        yield Site(study, host, root)
