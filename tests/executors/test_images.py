"""The images of deploy/images: how a recipe becomes one, and that the ones we ship are harmless."""

import io
import json
import os
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from jobrunner.executors import image_archive, image_build, images
from jobrunner.executors.base import ActionRun
from jobrunner.executors.docker import DockerExecutor
from jobrunner.executors.image_build import ImageError, read_recipe
from tests.fixtures.canary_runs import AGENT, job_id, run_to_end

pytest_plugins = ["tests.fixtures.engine"]

WRAPPER = images.recipe_root() / "run-action"


def run_action(folder: Path, *words: str) -> str:
    """Run the wrapper on this host: an image that has `python3` and `tool`, and nothing else."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    for name in ("python3", "tool"):
        program = programs / name
        program.write_text(f'#!/bin/sh\necho {name} "$@"\n')
        program.chmod(0o755)
    (programs / "text").write_text("not a program")
    environment = {"PATH": f"/workspace:{programs}:relative"}
    command = ["/bin/sh", str(WRAPPER), "python3", *words]
    return subprocess.run(
        command, env=environment, cwd=folder, check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.unit
@pytest.mark.parametrize(
    ("words", "ran"),
    [
        (("a.py", "x y"), "python3 a.py x y"),
        (("python3", "a.py"), "python3 a.py"),
        (("tool", "-v"), "tool -v"),
        (("echo", "x"), "python3 echo x"),
        (("exec", "x"), "python3 exec x"),
        (("text",), "python3 text"),
        (("/bin/echo", "x"), "x"),
        (("/bin", "x"), "python3 /bin x"),
        (("/workspace/run.sh",), "python3 /workspace/run.sh"),
        (("./run.sh",), "python3 ./run.sh"),
        (("bin/tool",), "python3 bin/tool"),
        (("-c", "print()"), "python3 -c print()"),
        ((), "python3"),
    ],
)
def test_the_first_word_runs_alone_when_the_image_has_it(
    tmp_path: Path, words: tuple[str, ...], ran: str
) -> None:
    (tmp_path / "run.sh").write_text("#!/bin/sh\necho never\n")
    (tmp_path / "run.sh").chmod(0o755)
    assert run_action(tmp_path, *words).strip() == ran


@pytest.mark.unit
@pytest.mark.parametrize("name", ["python", "../x:v1", "a/b:v1", "python:latest", "python:v2\n", ""])
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(ImageError, match="not the name of an image"):
        images.folder_of(name)


@pytest.mark.unit
def test_an_unknown_image_is_an_error_with_a_sentence() -> None:
    with pytest.raises(ImageError, match="cannot be read"):
        images.build("nothing:v1", print)


@pytest.mark.unit
def test_the_cache_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert images.cache_root() == tmp_path / "jobrunner" / "images"


@pytest.mark.unit
def test_an_archive_has_a_predictable_id(tmp_path: Path) -> None:
    layer = tmp_path / "layer.tar"
    with tarfile.open(layer, "w") as tar:
        tar.addfile(tarfile.TarInfo("empty"))
    ids = {
        image_archive.write_archive(layer, {"User": "1:1"}, "2026-11-01T00:00:00Z", "x:v1", tmp_path / name)
        for name in ("one.tar", "two.tar")
    }
    assert len(ids) == 1
    with tarfile.open(tmp_path / "one.tar") as archive:
        listed = archive.extractfile("manifest.json")
        assert listed is not None
        (image,) = json.loads(listed.read())
    assert image["Config"] == f"{ids.pop().removeprefix('sha256:')}.json"


@pytest.mark.unit
@pytest.mark.parametrize("folder", [path.parent for path in images.recipe_root().glob("*/recipe.toml")])
def test_recipes_name_no_address_and_lock_every_wheel(folder: Path) -> None:
    recipe = read_recipe(folder)
    assert images.folder_of(recipe.name) == folder.name
    for file in (folder / "recipe.toml", *folder.glob("requirements.*")):
        assert "://" not in file.read_text()
    for own in recipe.programs.values():
        assert (folder / own).is_file()
    if recipe.requirements:
        pins = (folder / recipe.requirements).read_text().count("==")
        assert 0 < pins <= (folder / recipe.requirements).read_text().count("--hash=sha256:")


RECIPE = """\
name = "small:v1"
created = "2026-11-01T00:00:00+00:00"
suite = "stable"
packages = []
entrypoint = ["/bin/x"]
"""
USERS = b"root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/bin/sh\n"


def entry(name: str, mode: int = 0o755, **fields: Any) -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.mode = mode
    for field, value in fields.items():
        setattr(made, field, value)
    return made


def system_tar(path: Path) -> None:
    """What Debian's packages might bring."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as system:
        system.addfile(entry("./usr/bin/su", 0o6755))
        system.addfile(entry("./usr/bin/ping", 0o755, pax_headers={"SCHILY.xattr.security.capability": "x"}))
        system.addfile(entry("./etc/passwd", 0o644, size=len(USERS)), io.BytesIO(USERS))
        system.addfile(entry("./etc/shadow", 0o640, size=1), io.BytesIO(b"x"))
        system.addfile(entry("./srv/disk", 0o660, type=tarfile.BLKTYPE))
        system.addfile(entry("./srv/pipe", 0o666, type=tarfile.FIFOTYPE))


@pytest.mark.unit
def test_I06_what_debian_brings_gives_nobody_rights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "small-v1").mkdir()
    (tmp_path / "small-v1" / "recipe.toml").write_text(RECIPE)
    recipe = read_recipe(tmp_path / "small-v1")
    # In place of mmdebstrap, whose last word is the file to write.
    monkeypatch.setattr(image_build, "_call", lambda command, _recipe: system_tar(Path(command[-1])))
    layer = image_build.build_layer(recipe, WRAPPER, tmp_path, print)
    with tarfile.open(layer) as tar:
        entries = {one.name.removeprefix("./"): one for one in tar}
        users = tar.extractfile("./etc/passwd")
        assert users is not None
        assert {line.rpartition(b":")[2] for line in users.read().splitlines()} == {b"/usr/sbin/nologin"}
    assert entries["usr/bin/su"].mode == 0o755
    assert entries["usr/bin/ping"].pax_headers == {}
    assert not {"etc/shadow", "srv/disk", "srv/pipe"} & set(entries)
    assert [name for name, one in entries.items() if one.mode & 0o6000 or one.uid or one.gid] == []


@pytest.mark.unit
def test_I06_an_image_of_ours_runs_as_nobody(tmp_path: Path) -> None:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    assert images.image_config(read_recipe(tmp_path)) == {
        "Entrypoint": ["/bin/x"], "User": "65534:65534", "WorkingDir": "/workspace",
    }  # fmt: skip


SCRIPT = """
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import statsmodels.duration.api as smd

rng = np.random.default_rng(1)
table = pd.DataFrame({"time": rng.exponential(10, 500), "event": rng.integers(0, 2, 500)})
table["age"] = rng.normal(60, 9, 500)
fit = smd.PHReg(table["time"], table[["age"]], status=table["event"]).fit()
pd.DataFrame({"hazard_ratio": np.exp(fit.params)}).to_csv("output/model.csv", index=False)
smd.SurvfuncRight(table["time"], table["event"]).plot()
plt.savefig("output/survival.png")
print("fitted")
"""


@pytest.mark.docker
@pytest.mark.parametrize("argv", [("analysis/a.py",), ("python", "analysis/a.py")])
def test_a_study_runs_in_python_v2(
    executor: DockerExecutor, python_v2_image: str, tmp_path: Path, argv: tuple[str, ...]
) -> None:
    tree = tmp_path / "tree"
    (tree / "analysis").mkdir(parents=True)
    (tree / "analysis" / "a.py").write_text(SCRIPT)
    entrypoint = read_recipe(images.recipe_root() / "python-v2").entrypoint
    run = ActionRun(
        agent_id=AGENT, job_id=job_id(), attempt=1, image_id=python_v2_image, entrypoint=entrypoint,
        argv=argv, uid=200_250, gid=200_250, tree=tree, folders=("output",),
    )  # fmt: skip
    ended = run_to_end(executor, run)
    assert (ended.exit.status, ended.log) == (0, b"fitted\n"), ended.log.decode()
    with executor.open_outputs(run) as folder:
        for name in ("output/model.csv", "output/survival.png"):
            assert os.stat(name, dir_fd=folder).st_size > 0


R_SCRIPT = """
suppressPackageStartupMessages({
  library(tidyverse); library(lubridate); library(broom); library(glue); library(here)
  library(data.table); library(jsonlite); library(yaml); library(optparse); library(argparse)
  library(knitr); library(rmarkdown); library(survival); library(sandwich); library(lmtest)
  library(cmprsk); library(patchwork); library(gridExtra); library(svglite); library(splines)
})
set.seed(1)
people <- tibble(time = rexp(500, 0.1), event = rbinom(500, 1, 0.5), age = rnorm(500, 60, 9))
write_csv(tidy(coxph(Surv(time, event) ~ age, people)), "output/model.csv")
ggsave("output/plot.png", ggplot(people, aes(age, time)) + geom_point(), width = 3, height = 3)
stopifnot(nchar("é") == 1, tz(with_tz(ymd_hm("2026-07-01 00:00"), "Europe/London")) == "Europe/London")
dropped <- c("/usr/share/javascript/mathjax/MathJax.js", file.path(find.package("dplyr"), "help", "AnIndex"))
writeLines("---\\ntitle: x\\n---\\n`r 1 + 1` people", "output/page.Rmd")
render("output/page.Rmd", "md_document", quiet = TRUE)
cat("fitted", file.exists(dropped), readLines("output/page.md"))
"""


@pytest.mark.docker
@pytest.mark.parametrize("argv", [("analysis/a.R",), ("Rscript", "analysis/a.R")])
def test_a_study_runs_in_r_v2(
    executor: DockerExecutor, r_v2_image: str, tmp_path: Path, argv: tuple[str, ...]
) -> None:
    tree = tmp_path / "tree"
    (tree / "analysis").mkdir(parents=True)
    (tree / "analysis" / "a.R").write_text(R_SCRIPT)
    recipe = read_recipe(images.recipe_root() / "r-v2")
    assert recipe.drop
    run = ActionRun(
        agent_id=AGENT, job_id=job_id(), attempt=1, image_id=r_v2_image, entrypoint=recipe.entrypoint,
        argv=argv, uid=200_251, gid=200_251, tree=tree, folders=("output",),
    )  # fmt: skip
    ended = run_to_end(executor, run)
    assert (ended.exit.status, ended.log) == (0, b"fitted FALSE FALSE 2 people"), ended.log.decode()
    with executor.open_outputs(run) as folder:
        for name in ("output/model.csv", "output/plot.png"):
            assert os.stat(name, dir_fd=folder).st_size > 0


@pytest.mark.docker
def test_a_second_call_builds_and_loads_nothing(python_v2_image: str) -> None:
    said: list[str] = []
    assert images.ensure("python:v2", said.append) == python_v2_image
    assert said == []


@pytest.mark.docker
@pytest.mark.skipif(shutil.which("mmdebstrap") is None, reason="mmdebstrap is not installed")
def test_a_failed_build_leaves_nothing_behind(
    engine: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    del engine
    recipes, cache = tmp_path / "recipes", tmp_path / "cache"
    (recipes / "broken-v1").mkdir(parents=True)
    shutil.copy(WRAPPER, recipes / "run-action")
    (recipes / "broken-v1" / "recipe.toml").write_text(
        'name = "broken:v1"\ncreated = "2026-11-01T00:00:00+00:00"\nsuite = "no-such-suite"\n'
        'packages = ["no-such-package"]\nentrypoint = ["/x"]\n'
    )
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr(images, "recipe_root", lambda: recipes)
    with pytest.raises(ImageError, match="mmdebstrap for the image broken:v1 failed"):
        images.build("broken:v1", print)
    assert [path.name for path in (cache / "jobrunner" / "images").iterdir()] == ["broken-v1.lock"]
