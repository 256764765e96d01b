"""What is known of a study in a work tree: its actions, its files, its images, and what ran before."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from jobrunner.local.code import Code
from jobrunner.local.hashing import hash_files
from jobrunner.local.named import named_files
from jobrunner.local.problems import LocalProblem, PipelineInvalid
from jobrunner.local.records import Record, RecordUnreadable
from jobrunner.local.staleness import Present, Verdict, judge
from jobrunner.local.state import State
from jobrunner.local.study_files import StudyFiles, study_files
from jobrunner.pipeline import Action, PatternSet, Pipeline, load
from jobrunner.pipeline.starting import image_name
from jobrunner.pipeline.text import MAX_BYTES

if TYPE_CHECKING:
    # A quarter of a second, which a plan without an engine need not spend.
    from jobrunner.executors.docker_copy import CopyExecutor, LocalImage

PIPELINE_FILE: Final = "project.yaml"
# Where an image of this name and version may come from: our own recipes, or the registry of other sites.
_NAMES: Final = ("jobrunner/", "ghcr.io/opensafely-core/")


@dataclass(frozen=True)
class Situation:
    """`images`: image name with version to what the engine has of it; None where it has none or is away.

    `study_hashes`: sha256 of every file of the study but project.yaml and outputs. `reusable`: the code of
    actions that do not run the study's.
    """

    root: Path
    pipeline: Pipeline
    study: StudyFiles
    study_hashes: Mapping[str, str]
    images: "Mapping[str, LocalImage | None]"
    state: State
    reusable: Mapping[str, Code]

    def code(self, name: str) -> Code:
        """What the action runs."""
        if name in self.reusable:
            return self.reusable[name]
        action = self.pipeline.actions[name]
        named = named_files(action.argv, action.config, self.study_hashes)
        return Code(action, self.study, self.study_hashes, named)

    def with_images(self, images: "Mapping[str, LocalImage]") -> "Situation":
        """The same with these images; a name that is not among them keeps what it has."""
        return replace(self, images={**self.images, **images})

    def remembered(self, action: str) -> tuple[Record | None, str]:
        """The action's record; or None, and why it cannot be read ("": there is none)."""
        try:
            return self.state.record(action), ""
        except RecordUnreadable as broken:
            return None, str(broken)

    def inputs_of(self, action: Action) -> dict[str, str]:
        """Path to sha256 of what the action's needs wrote when they last succeeded.

        Raises LocalProblem (request_invalid) when two of them wrote the same path.
        """
        inputs: dict[str, str] = {}
        for need in dict.fromkeys(action.needs):
            record, _why = self.remembered(need)
            outputs = {} if record is None else record.outputs
            both = sorted(inputs.keys() & outputs.keys())
            if both:
                raise LocalProblem(
                    "request_invalid",
                    f"Action `{need}` and another need of `{action.id}` both wrote `{both[0]}`. "
                    "Give one of them another path.",
                )
            inputs.update(outputs)
        return inputs

    def verdict(self, name: str, option: str = "") -> Verdict:
        """Whether the action must run now, by what its needs wrote last. `option`: as in `judge`."""
        action = self.pipeline.actions[name]
        record, unreadable = self.remembered(name)
        return judge(
            record, self._present(self.code(action.id), record), option=option, unreadable=unreadable
        )

    def _present(self, code: Code, record: Record | None) -> Present:
        action = code.action
        image = self.images.get(image_name(action))
        return Present(
            image=image_name(action),
            image_id=image.id if image is not None else None,
            argv=action.command(),
            patterns=action.patterns(),
            needs=tuple(dict.fromkeys(action.needs)),
            inputs=self.inputs_of(action),
            named={path: code.hashes[path] for path in code.named},
            others={path: digest for path, digest in code.hashes.items() if path not in code.named},
            outputs=hash_files(self.root, record.outputs if record is not None else ()),
        )


def read_pipeline(root: Path) -> Pipeline:
    """The project.yaml of the work tree. Raises LocalProblem (no_study), PipelineInvalid."""
    try:
        with (root / PIPELINE_FILE).open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise LocalProblem(
            "no_study", f"{root / PIPELINE_FILE} cannot be read ({error.strerror}). Go to the study's folder."
        ) from error
    loaded = load(data)
    if loaded.pipeline is None:
        raise PipelineInvalid(loaded.problems, data)
    return loaded.pipeline


def look(
    root: Path,
    pipeline: Pipeline,
    images: "Mapping[str, LocalImage | None]",
    reusable: Mapping[str, Code] = MappingProxyType({}),
) -> Situation:
    """Look at the work tree. Raises LocalProblem (tree_refused)."""
    outputs = PatternSet({pattern for one in pipeline.actions.values() for pattern, _level in one.patterns()})
    try:
        study = study_files(root, outputs)
    except OSError as error:
        raise LocalProblem("no_study", f"{root} cannot be read ({error.strerror}).") from error
    of_interest = [path for path in study.kinds if path != PIPELINE_FILE and not outputs.matching(path)]
    return Situation(root, pipeline, study, hash_files(root, of_interest), images, State(root), reusable)


def find_images(executor: "CopyExecutor", names: set[str]) -> "dict[str, LocalImage | None]":
    """What the engine has under these names with version, such as "python:v2"."""
    return {name: _find(executor, name) for name in names}


def _find(executor: "CopyExecutor", name: str) -> "LocalImage | None":
    for prefix in _NAMES:
        found = executor.image_named(f"{prefix}{name}")
        if found is not None:
            return found
    return None
