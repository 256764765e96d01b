"""Where lies are told: a site with something to lose in every place, a study that is approved, and others."""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobrunner.demo.git_server import GitRequestHandler
from jobrunner.sync.identity import new_id
from tests.agent.approvers import Approver, envelope, payload
from tests.agent.policies import IMAGE_ID
from tests.evil_controller.canaries import new_canaries
from tests.evil_controller.idle_engine import TROUBLE
from tests.evil_controller.running import running_agent
from tests.evil_controller.scene import Scene, site_of
from tests.evil_controller.server import EvilController
from tests.fixtures.database_files import make_database
from tests.fixtures.git_fixtures import StudyRepository, run_git, serve

_MOST_PROJECTS = 400
_DATABASE_IMAGE = "sha256:" + "2" * 64
_PIPELINE = """\
version: "4.0"
# {content}
actions:
  describe:
    run: python:v2 analysis/{script}.py
    outputs:
      moderately_sensitive:
        table: output/{pattern}.csv
  extract:
    run: sqlrunner:v1 --output output/rows.csv analysis/rows.sql
    outputs:
      highly_sensitive:
        rows: output/rows.csv
"""


@dataclass(frozen=True, slots=True)
class Commits:
    """Commits that are not the one to run: `parent` of it, of branch `side`, of refs/pull, of a tag, and of
    another repository."""

    parent: str
    side: str
    pulled: str
    tagged: str
    foreign: str


@dataclass
class Setting(Scene):
    """A scene with more people, more commits, and canaries. The site names its projects."""

    backend: str
    host: str
    folder: Path
    revoked: Approver
    stranger: Approver
    commits: Commits
    canaries: dict[str, str]
    projects: Iterator[str]
    count: Callable[[], int]
    honest: int = 0

    def lies_begin(self) -> None:
        """What was made and started until now, was so for a good reason."""
        self.honest = self.count()

    @property
    def containers(self) -> int:
        """How many containers were made or started since."""
        return self.count() - self.honest

    def project(self) -> str:
        """A project of the policy that was never seen before."""
        return next(self.projects)

    def approval(self, project: str, *, signer: Approver | None = None, **changes: Any) -> str:
        """An approval of the study for a project, by the approver if nobody else signs."""
        good = {"repos": [self.url], "sites": [self.backend]}
        return envelope(payload(project=project, **good | changes), signer or self.approver)

    def approve(self, project: str, **changes: Any) -> str:
        """A good approval of the study for a project."""
        return self.approval(project, **changes)

    def covered(self, **changes: Any) -> dict[str, Any]:
        """An offer with these fields under a good approval that covers whatever they say."""
        fields = self.fields(approval=None, **changes)
        approval = self.approval(
            fields["project"], repos=[fields["repo"]], branches=[fields["branch"]], actions="all"
        )
        return fields | {"approval": approval}


@contextmanager
def open_setting(
    folder: Path, controller: EvilController, *, engine: str = "brief", image: str = IMAGE_ID, **changes: Any
) -> Iterator[Setting]:
    """Everything in `folder`, with the agent running; `changes` are of the site's policy."""
    canaries = new_canaries()
    place = folder / canaries["folder of the site"]
    place.mkdir(parents=True)
    study, commits = _make_studies(place / "git", canaries)
    people = {name: Approver.create(place, f"{name}-{canaries['name of an approver']}") for name in "abc"}
    approver, revoked, stranger = people.values()
    projects = [f"p{new_id()}" for _ in range(_MOST_PROJECTS)]
    with serve(place / "git", _host_with_a_page(canaries["page of the git host"])) as host:
        url = host.url("study")
        site = place / "site"
        _write_secrets(site, canaries, revoked)
        policy = site_of(
            site, controller, approver, url,
            **_policy(place, canaries, image, url, projects) | changes,
        )  # fmt: skip
        with (site / "allowed_signers").open("a") as signers:
            signers.write(revoked.line())
        environment = {"SITE_SECRET": canaries["environment of the agent"]}
        environment[TROUBLE] = canaries["error of the engine"]
        with running_agent(policy, engine=engine, environment=environment) as agent:
            yield Setting(
                controller=controller,
                agent=agent,
                approver=approver,
                url=url,
                head=study.head,
                backend=changes.get("backend", "site-one"),
                host=url.rsplit("/", 1)[0],
                folder=folder,
                revoked=revoked,
                stranger=stranger,
                commits=commits,
                canaries=canaries | _true_names(),
                projects=iter(projects),
                count=lambda: len(agent.containers),
            )


def _true_names() -> dict[str, str]:
    """What this host is called, unless that could be part of any text by chance."""
    names = {"name of the host": socket.gethostname(), "kernel of the host": os.uname().release}
    return {place: name for place, name in names.items() if len(name) >= 6}


def _make_studies(root: Path, canaries: dict[str, str]) -> tuple[StudyRepository, Commits]:
    """The study, and the commits that somebody might try to have run in place of its head."""
    pipeline = _PIPELINE.format(
        content=canaries["file content"],
        script=canaries["script of an action"],
        pattern=canaries["output pattern"],
    )
    named = f"{canaries['file name']}.txt"
    study = StudyRepository.create(root, "study", {"project.yaml": pipeline.replace("describe", "older")})
    parent = study.head
    files = {
        "project.yaml": pipeline,
        named: "nothing\n",
        f"analysis/{canaries['script of an action']}.py": "import pathlib\n"
        f"pathlib.Path('output/{canaries['output pattern']}.csv').write_text('a,b\\n1,2\\n')\n",
    }
    head = study.commit(files, message=canaries["commit message"])
    study.switch("side")
    side = study.commit({"side.txt": "side\n"})
    study.switch("main", start=head)
    pulled = study.commit({"pulled.txt": "pulled\n"}, push=False)
    run_git(study.work, "push", "--quiet", str(study.bare), "HEAD:refs/pull/1/head")
    tagged = study.commit({"tagged.txt": "tagged\n"}, push=False)
    run_git(study.work, "push", "--quiet", str(study.bare), "HEAD:refs/tags/release")
    run_git(study.bare, "branch", canaries["branch that nobody offered"], head)
    run_git(study.work, "reset", "--quiet", "--hard", head)
    other = StudyRepository.create(root, "other", {"project.yaml": pipeline, "other.txt": "other\n"})
    return study, Commits(parent, side, pulled, tagged, other.head)


def _write_secrets(site: Path, canaries: dict[str, str], revoked: Approver) -> None:
    site.mkdir(parents=True)
    (site / "revoked").write_text(revoked.public + "\n")
    (site / "git_token").write_text(canaries["git token"] + "\n")
    (site / "git_token").chmod(0o600)
    database = make_database(site / canaries["path of the database"])
    database.path.chmod(0o644)
    with database.path.open("ab") as file:
        file.write(canaries["content of the database"].encode())
    database.path.chmod(0o444)


def _policy(
    place: Path, canaries: dict[str, str], image: str, url: str, projects: list[str]
) -> dict[str, Any]:
    hidden = canaries["path of the database"]
    return {
        "projects": projects,
        "approvals__revoked": "revoked",
        "git__allowed": [url.rsplit("/", 1)[0], "https://inside.example/studies"],
        "git__private_addresses": [],
        "git__token_files": {url.split("/")[2]: "git_token"},
        "images": {
            "python:v2": {
                "id": image,
                "entrypoint": ["/usr/local/bin/run-action", "python3"],
                "environment": {"SITE_WORD": canaries["environment of an image"]},
            },
            "sqlrunner:v1": {"id": _DATABASE_IMAGE, "entrypoint": [canaries["entrypoint of an image"]]},
        },
        "database": {
            "dataset": "patients", "kind": "sqlite", "file": str(place / "site" / hidden / "patients.db"),
            "public": True, "images": {_DATABASE_IMAGE: "any"},
        },
    }  # fmt: skip


def _host_with_a_page(word: str) -> type[GitRequestHandler]:
    """An honest git host, but for what lies below /broken."""

    class Handler(GitRequestHandler):
        def do_GET(self) -> None:
            if self.path.startswith("/broken"):
                self.answer(500, "text/plain", word.encode())
            else:
                super().do_GET()

    return Handler
