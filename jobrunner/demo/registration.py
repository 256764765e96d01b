"""The first run of a demo: everything that people do once, done with the commands that they would use.

The researcher's study, the data controller's signed approval, the site's policy, key and database, the
controller's register: afterwards all of it lies in the demo's folder, to be looked at.
"""

import os
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from jobrunner.demo import database, flchain, study_repository
from jobrunner.demo.folder import BRANCH, PROJECT, DemoFolder, DemoProblem, Kept, keep
from jobrunner.demo.programs import environment, line_with, run

DATABASE_IMAGE: Final = "sqlrunner:v1"
IMAGES: Final = ("python:v2", DATABASE_IMAGE)

_RESEARCHER: Final = "ada"
_DISK_MIB: Final = 2048
_MEMORY_MIB: Final = 1024


def git_address(kept: Kept) -> str:
    """Address of the git host, which is also the prefix of all repositories that are allowed."""
    return f"http://127.0.0.1:{kept.git_port}"


def study_address(kept: Kept) -> str:
    """Address of the study's repository."""
    return f"{git_address(kept)}/{PROJECT}"


def controller_address(kept: Kept) -> str:
    """Address of the controller, and of the public feed."""
    return f"http://127.0.0.1:{kept.controller_port}"


def controller_environment(folder: DemoFolder, kept: Kept) -> dict[str, str]:
    """What the controller and its commands are started with."""
    return environment(
        JOBRUNNER_CONTROLLER_DATA=str(folder.controller),
        JOBRUNNER_CONTROLLER_MODE="dev",
        JOBRUNNER_CONTROLLER_GIT_PREFIXES=git_address(kept),
    )


def register(
    folder: DemoFolder, kept: Kept, image_ids: Mapping[str, str], progress: Callable[[str], None]
) -> Kept:
    """Do it all and return what is kept from now on. Raises DemoProblem."""
    for place in (folder.git, folder.data_controller, folder.logs):
        place.mkdir(mode=0o755)
    env = controller_environment(folder, kept)

    try:
        cohort = flchain.load(progress)
    except flchain.DataProblem as problem:
        raise DemoProblem(str(problem)) from problem
    progress("making the study's repository")
    study_repository.make(folder, study_address(kept))

    progress(f"making the data centre: database of {flchain.PEOPLE:,} people, policy, key")
    database.make(cohort, folder.database)
    public_key = _make_site(folder, kept, image_ids)

    progress("registering project, data centre and researcher at the controller")
    run(["controller", "migrate"], env)
    run(
        [
            *("controller", "create-project", PROJECT),
            *("--title", "Serum free light chains and survival"),
            *("--purpose", "To see whether people with high serum free light chains die earlier."),
            *("--legal-basis", "Published, anonymous data; outside of this demo nobody needs approval."),
        ],
        env,
    )
    printed = run(
        [
            "controller",
            "create-backend",
            kept.backend,
            "--title",
            "Demo data centre",
            "--public-key",
            public_key,
        ],
        env,
    )
    _write_secret(folder, "site/credential", line_with(r"\S{30,}", printed))

    progress("signing the approval as the data controller")
    _approve(folder, kept, env)
    printed = run(["controller", "create-token", _RESEARCHER, "--project", PROJECT, "--days", "366"], env)
    settings = {
        "JOBRUNNER_URL": controller_address(kept),
        "JOBRUNNER_TOKEN": line_with(r"\S{30,}", printed),
        "JOBRUNNER_PROJECT": PROJECT,
        "JOBRUNNER_BACKEND": kept.backend,
    }
    _write_secret(folder, "researcher.env", "".join(f"export {k}={v}\n" for k, v in settings.items()))
    done = replace(kept, image_ids=image_ids, ready=True)
    keep(folder, done)
    return done


def use_images(folder: DemoFolder, kept: Kept, image_ids: Mapping[str, str]) -> Kept:
    """Put the ids of newly built images into the site's policy, as its admin would."""
    if kept.image_ids == image_ids:
        return kept
    policy = folder.site / "agent.toml"
    text = policy.read_text(encoding="utf-8")
    for name, image_id in image_ids.items():
        text = text.replace(kept.image_ids[name], image_id)
    policy.write_text(text, encoding="utf-8")
    done = replace(kept, image_ids=image_ids)
    keep(folder, done)
    return done


def researcher_environment(folder: DemoFolder) -> dict[str, str]:
    """What the researcher's commands are started with."""
    text = folder.researcher.read_text(encoding="utf-8")
    return environment(**dict(re.findall(r"^export (\w+)=(\S+)$", text, re.MULTILINE)))


def _make_site(folder: DemoFolder, kept: Kept, image_ids: Mapping[str, str]) -> str:
    printed = run(
        [
            *("agent", "init", str(folder.site), "--backend", kept.backend, "--mode", "dev"),
            *("--controller", controller_address(kept), "--data", str(folder.site_data)),
            *("--git", git_address(kept)),
            *(word for name in IMAGES for word in ("--image", f"{name}={image_ids[name]}")),
            *("--database", f"sqlite={folder.database}", "--dataset", database.DATASET),
            *("--database-image", DATABASE_IMAGE, "--database-public"),
        ],
        environment(),
    )
    policy = folder.site / "agent.toml"
    text = policy.read_text(encoding="utf-8")
    # A laptop may have less than a data centre, and should run two jobs at once.
    limits = {
        "cores": f"{min(1.0, (os.cpu_count() or 1) / 2)}",
        "disk_mib": f"{_DISK_MIB}",
        "memory_mib": f"{_MEMORY_MIB}",
        "least_free_percent": "1",
    }
    for name, value in limits.items():
        text = re.sub(rf"^{name} = .*$", f"{name} = {value}", text, flags=re.MULTILINE)
    policy.write_text(text, encoding="utf-8")
    return line_with(r"ed25519:\S+", printed)


def _approve(folder: DemoFolder, kept: Kept, env: Mapping[str, str]) -> None:
    desk = folder.data_controller
    key = desk / "key"
    made = subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "data controller of the demo", "-f", str(key)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode != 0:
        raise DemoProblem(f"ssh-keygen could not make a key: {made.stderr.strip()}")
    public = " ".join((desk / "key.pub").read_text(encoding="utf-8").split()[:2])
    with (folder.site / "allowed_signers").open("a", encoding="utf-8") as signers:
        signers.write(f'demo-data-controller namespaces="jobrunner-approval" {public}\n')
    text = run(
        [
            *("approval", "new", "--project", PROJECT, "--site", kept.backend),
            *("--repo", study_address(kept), "--branch", BRANCH, "--days", "365"),
            *("--database", "--dataset", database.DATASET),
        ],
        env,
    )
    (desk / "payload.json").write_text(text, encoding="utf-8")
    signed = run(["approval", "sign", str(desk / "payload.json"), "--key", str(key)], env)
    (desk / "approval.json").write_text(signed, encoding="utf-8")
    run(["controller", "add-approval", str(desk / "approval.json")], env)


def _write_secret(folder: DemoFolder, name: str, text: str) -> None:
    handle = os.open(folder.root / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
