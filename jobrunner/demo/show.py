"""The demo: all programs at once on this machine, one request through them, and what came of it."""

import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import requests

from jobrunner.demo import study_repository
from jobrunner.demo.folder import BRANCH, PROJECT, DemoFolder, DemoProblem, Kept, opened
from jobrunner.demo.git_server import GitServer
from jobrunner.demo.outcome import ActionOutcome, outcomes
from jobrunner.demo.programs import Program, ProgramEnded, environment, line_with, run, watch
from jobrunner.demo.registration import (
    IMAGES,
    controller_address,
    controller_environment,
    register,
    researcher_environment,
    study_address,
    use_images,
)
from jobrunner.executors import images
from jobrunner.executors.image_build import ImageError
from jobrunner.sync.identity import workspace_name

_START_S: Final = 30.0
_JOBS_S: Final = 600.0
_LOOK_EVERY_S: Final = 0.5
# First TERM: finish what runs. Second: end it.
_AGENT_PATIENCE_S: Final = (1.0, 45.0)
_CONTROLLER_PATIENCE_S: Final = (5.0,)

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Running:
    """A demo whose programs run."""

    folder: DemoFolder
    kept: Kept
    controller: Program
    agent: Program

    @property
    def feed(self) -> str:
        """Address of the public feed."""
        return f"{controller_address(self.kept)}/"

    @property
    def policy(self) -> Path:
        """The site's policy file."""
        return self.folder.site / "agent.toml"

    def workspace(self, area: str) -> Path:
        """Where the study's outputs lie in the area "high" or "medium"."""
        name = workspace_name(PROJECT, study_address(self.kept), BRANCH)
        return self.folder.site_data / area / "workspaces" / name

    def ask(self, progress: Progress) -> list[ActionOutcome]:
        """Ask for every action as the researcher, follow it on this terminal, and say what came of it.

        Raises ProgramEnded when controller or agent ends before it, DemoProblem when it does not end.
        """
        env = researcher_environment(self.folder)
        self._end_earlier_request(env, progress)
        commit = study_repository.head(self.folder)
        where = ["--repo", study_address(self.kept), "--branch", BRANCH, "--commit", commit]
        words = ["request", "run_all", "--force", *where]
        progress(f"as the researcher: jobrunner {' '.join(words)}")
        printed = run(words, env)
        request = line_with(r"Next: jobrunner status \w+ --watch", printed).split()[-2]
        self.folder.last_request.write_text(request, encoding="ascii")
        progress(f"everyone can follow it at {self.feed}jobs/{request}")
        watch(["status", request, "--watch"], env, (self.controller, self.agent), _JOBS_S)
        found = self._read(request, env)
        return outcomes(self.folder.site_data / "high", self.workspace("high"), found)

    def serve(self, agent_ended: Callable[[ProgramEnded], None]) -> None:
        """Stay until a signal comes. Raises ProgramEnded when the controller ends by itself.

        An agent may end, as its admin can tell it to: `agent_ended` is called once, all others stay.
        """
        told = False
        while True:
            self.controller.require_running()
            try:
                self.agent.require_running()
            except ProgramEnded as ended:
                if not told:
                    agent_ended(ended)
                told = True
            time.sleep(_LOOK_EVERY_S)

    def _end_earlier_request(self, env: Mapping[str, str], progress: Progress) -> None:
        """What an interrupted demo asked for would keep its actions from being asked for again."""
        if not self.folder.last_request.exists():
            return
        request = self.folder.last_request.read_text(encoding="ascii")
        if self._read(request, env)["finished"]:
            return
        progress("cancelling what an earlier demo left unfinished")
        run(["cancel", request], env)
        deadline = time.monotonic() + _JOBS_S
        while not self._read(request, env)["finished"]:
            self.agent.require_running()
            if time.monotonic() > deadline:
                raise DemoProblem(f"request {request} of an earlier demo does not end. Remove the folder.")
            time.sleep(0.5)

    def _read(self, request: str, env: Mapping[str, str]) -> dict[str, Any]:
        """A request as the researchers' API tells it."""
        try:
            answer = requests.get(
                f"{controller_address(self.kept)}/api/v1/requests/{request}",
                headers={"Authorization": f"Bearer {env['JOBRUNNER_TOKEN']}"},
                timeout=30,
            )
            answer.raise_for_status()
            found: dict[str, Any] = answer.json()
        except requests.RequestException as error:
            raise DemoProblem(f"the controller did not tell about request {request}: {error}") from error
        return found


@contextmanager
def running(root: Path, progress: Progress) -> Iterator[Running]:
    """Everything up, in the folder `root`; all of it down again at the end. Raises DemoProblem."""
    with ExitStack() as stack:
        folder, kept = stack.enter_context(opened(root))
        progress(f"the images {' and '.join(IMAGES)} (built once, which takes a minute or two)")
        try:
            image_ids = {name: images.ensure(name, progress) for name in IMAGES}
        except ImageError as problem:
            raise DemoProblem(str(problem)) from problem
        if kept.ready:
            kept = use_images(folder, kept, image_ids)
            run(["controller", "migrate"], controller_environment(folder, kept))
        else:
            kept = register(folder, kept, image_ids, progress)
        progress("starting git host, controller and agent")
        stack.enter_context(GitServer(folder.git, kept.git_port))
        controller = Program(
            "controller",
            ["controller", "serve", "--port", str(kept.controller_port)],
            controller_environment(folder, kept),
            folder.logs / "controller.log",
        )
        stack.callback(controller.stop, _CONTROLLER_PATIENCE_S)
        agent = Program(
            "agent",
            ["agent", "run", str(folder.site / "agent.toml")],
            environment(),
            folder.logs / "agent.log",
        )
        stack.callback(agent.stop, _AGENT_PATIENCE_S)
        stack.callback(_ignore_interrupts)
        _wait_for(controller, controller_address(kept))
        yield Running(folder, kept, controller, agent)


def _wait_for(controller: Program, address: str) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        controller.require_running()
        try:
            requests.get(f"{address}/feed.json", timeout=5).raise_for_status()
        except requests.RequestException:
            time.sleep(0.05)
        else:
            return
    raise DemoProblem(f"the controller did not answer within {_START_S:.0f} s. Its log is {controller.log}.")


def _ignore_interrupts() -> None:
    """From here on the programs are being ended; a second Ctrl-C must not leave some of them behind."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
