"""The likely cause of a failure in one sentence, from how it ended and the last lines of its log."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jobrunner.pipeline import Action, PatternSet

_OUT_OF_MEMORY: Final = 137
_NOT_FOUND: Final = 127
_NOT_A_PROGRAM: Final = 126

_MODULE: Final = re.compile(r"ModuleNotFoundError: No module named '([\w.]+)'")
_PACKAGE: Final = re.compile("there is no package called [\u2018'\"]([\\w.]+)[\u2019'\"]")
_MISSING: Final = (
    re.compile(r"No such file or directory: '([^'\n]+)'"),
    re.compile(r"cannot open (?:compressed )?file '([^'\n]+)'"),
    re.compile(r"'([^'\n]+)' does not exist"),
    re.compile(r"can't open file '([^'\n]+)'"),
)
_READ_ONLY: Final = re.compile(r"Read-only file system(?:: '([^'\n]+)')?")
_NETWORK: Final = re.compile(
    r"name resolution|Could not resolve host|Network is unreachable|getaddrinfo|Name or service not known"
)
_MEMORY: Final = re.compile(r"^MemoryError|cannot allocate (?:vector|memory)|std::bad_alloc", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Scene:
    """What is known about the action that failed. `seen`: paths that lay in its workspace."""

    root: Path
    action: Action
    actions: Mapping[str, Action]
    seen: frozenset[str]
    reason: str
    status: int | None
    log: str


def likely_cause(scene: Scene) -> str | None:
    """One sentence that says what to do, or None when nothing is recognised."""
    for guess in _GUESSES:
        found = guess(scene)
        if found is not None:
            return found
    return None


def _memory(scene: Scene) -> str | None:
    if scene.reason == "out_of_memory" or _MEMORY.search(scene.log):
        return "It ran out of memory: read fewer columns, or work in pieces."
    if scene.status == _OUT_OF_MEMORY:
        return "It was killed (status 137), most often for want of memory: read less at once."
    return None


def _module(scene: Scene) -> str | None:
    found = _last(_MODULE, scene.log)
    if found is not None:
        own = f"{found.replace('.', '/').split('/')[0]}.py"
        near = sorted(path for path in scene.seen if path.rpartition("/")[2] == own)
        if near:
            return (
                f"Python finds no module `{found}`; the study has `{near[0]}`, which only scripts in its "
                "folder can import."
            )
        return (
            f"The image {_image(scene)} has no Python module `{found}`, and nothing can be installed; "
            "use one that it has."
        )
    found = _last(_PACKAGE, scene.log)
    if found is not None:
        return f"The image {_image(scene)} has no R package `{found}`, and nothing can be installed."
    return None


def _file(scene: Scene) -> str | None:
    for form in _MISSING:
        found = _last(form, scene.log)
        if found is not None:
            return _about_file(scene, found.removeprefix("/workspace/").removeprefix("./"))
    return None


def _about_file(scene: Scene, path: str) -> str:
    needs = scene.action.needs
    for name, action in scene.actions.items():
        if name == scene.action.id or not PatternSet([one for one, _ in action.patterns()]).matching(path):
            continue
        if name in needs:
            return f"`{path}` is not there: action `{name}` should write it, but did not."
        return f"`{path}` is written by action `{name}`: add `{name}` to the `needs` of `{scene.action.id}`."
    spelled = {one.casefold(): one for one in scene.seen}.get(path.casefold())
    if spelled is not None and spelled != path:
        return f"`{path}` is not there, but `{spelled}` is: mind upper and lower case."
    if path not in scene.seen and _is_in_tree(scene.root, path):
        return f"`{path}` lies in your work tree, but git ignores it, so the study lacks it; add it to git."
    if PatternSet([one for one, _ in scene.action.patterns()]).matching(path):
        return f"`{path}` is an output of this action itself, and was read before it was written."
    return f"`{path}` is not there: no file of the study has this path, and no action writes it."


def _is_in_tree(root: Path, path: str) -> bool:
    try:
        return (root / path).is_file()
    except (OSError, ValueError):
        return False


def _program(scene: Scene) -> str | None:
    word = scene.action.argv[0] if scene.action.argv else ""
    if scene.status == _NOT_FOUND:
        return f"The image {_image(scene)} has no program for `{word}`; check the first word after the image."
    if scene.status == _NOT_A_PROGRAM:
        return f"`{word}` is no program that the image {_image(scene)} can run."
    return None


def _read_only(scene: Scene) -> str | None:
    found = _READ_ONLY.search(scene.log)
    if found is None:
        return None
    return "It wrote outside of its folder: only paths of the study and /tmp can be written."


def _network(scene: Scene) -> str | None:
    if _NETWORK.search(scene.log) is None:
        return None
    return "It looked for the network; there is none, here or in the data centre: put what it needs into git."


def _missing_outputs(scene: Scene) -> str | None:
    if scene.reason != "outputs_missing":
        return None
    return "The command ended well without writing all that `outputs` promises: compare path by path."


def _disk(scene: Scene) -> str | None:
    if scene.reason == "out_of_disk" or "No space left on device" in scene.log:
        return "There is no space left on the disk, or in /tmp, which is small: write less, or free some."
    return None


def _last(form: re.Pattern[str], log: str) -> str | None:
    found = form.findall(log)
    return str(found[-1]) if found else None


def _image(scene: Scene) -> str:
    return f"{scene.action.image}:{scene.action.image_version}"


_GUESSES: Final[tuple[Callable[[Scene], str | None], ...]] = (
    _module,
    _file,
    _memory,
    _disk,
    _read_only,
    _network,
    _program,
    _missing_outputs,
)
