"""What a run text says, without the rest of the action: words, image, and where a dataset command writes."""

import re
from dataclasses import dataclass
from typing import Literal

from jobrunner.pipeline.words import MAX_WORD_BYTES, Image, OpenQuoteError, is_blank, read_image, split_words

_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_VERSION = r"(?:v[0-9.]+(?:-pre)?|dev|latest)"
_COHORT = re.compile(rf"cohortextractor:{_VERSION} generate_cohort")
_DATASET = re.compile(rf"(?:ehrql|databuilder):{_VERSION} generate[-_]dataset")
_DATASET_IMAGES = frozenset({"ehrql", "databuilder"})
_DATASET_WORDS = ("generate-dataset", "generate_dataset")

Fault = Literal["empty", "blank", "control", "open"]


@dataclass(frozen=True, slots=True)
class Command:
    """One run text. With a `fault` there are no words; `sign` is the character at fault."""

    text: str
    fault: Fault | None
    sign: str
    words: tuple[str, ...]
    image: Image
    longest_word: int
    #: How the text asks for a dataset: as every reader of the format sees it, or by its words only.
    dataset: Literal["exact", "loose"] | None
    is_cohort: bool

    @property
    def argv(self) -> tuple[str, ...]:
        """The words after the first."""
        return self.words[1:]


def read_command(text: str) -> Command:
    """Split and classify a run text; never raises. Time: linear."""
    if not text:
        return _faulty(text, "empty", "")
    if is_blank(text):
        return _faulty(text, "blank", "")
    control = _CONTROL.search(text)
    if control:
        return _faulty(text, "control", control.group())
    try:
        words = split_words(text)
    except OpenQuoteError as error:
        return _faulty(text, "open", error.sign)
    image = read_image(words[0])
    dataset: Literal["exact", "loose"] | None = None
    if _DATASET.match(text):
        dataset = "exact"
    elif image.name in _DATASET_IMAGES and len(words) > 1 and words[1].startswith(_DATASET_WORDS):
        dataset = "loose"
    longest = max(len(word) if len(word) > MAX_WORD_BYTES else len(word.encode()) for word in words)
    return Command(text, None, "", words, image, longest, dataset, _COHORT.match(text) is not None)


def target_of(argv: tuple[str, ...]) -> str:
    """Where the command writes by its first `--output X` or `--output=X`; empty if it does not say."""
    for index, word in enumerate(argv):
        if word == "--output":
            return argv[index + 1] if index + 1 < len(argv) else ""
        if word.startswith("--output="):
            return word.removeprefix("--output=")
    return ""


@dataclass(frozen=True, slots=True)
class Target:
    """A target of a dataset command, ready to be compared with patterns (project-yaml.md 4.4, Fit)."""

    text: str
    #: None: one file, that of `text`. Else every pattern lies in this folder ...
    folder: str | None
    #: ... and has this type.
    type: str

    def fits(self, patterns: list[str]) -> bool:
        """Whether these patterns are what the command writes."""
        if self.folder is None:
            return self.text in patterns
        if not patterns:
            return True
        if not self.folder:
            return False
        return all(self._holds(pattern) for pattern in patterns)

    def _holds(self, pattern: str) -> bool:
        """Folder first, type last, anything between; a `*` in the folder stands for anything."""
        parts = f"{self.folder}/".split("*")
        end = len(pattern) - len(self.type) - 1
        if not pattern.endswith(f".{self.type}") or not pattern.startswith(parts[0]):
            return False
        position = len(parts[0])
        for part in parts[1:]:
            found = pattern.find(part, position, end)
            if found < 0:
                return False
            position = found + len(part)
        return position <= end


def read_target(text: str) -> Target:
    """Cut `dir:type`, `dir/:type` and `./dir:type` into folder and type; anything else is one file."""
    segments = [part for part in text.split("/") if part not in ("", ".")]
    if not segments or ":" not in segments[-1]:
        return Target(text, None, "")
    name, _, kind = segments[-1].rpartition(":")
    folders = [*segments[:-1], name] if name else segments[:-1]
    folder = "/".join(folders)
    return Target(text, f"/{folder}" if folder and text.startswith("/") else folder, kind)


def _faulty(text: str, fault: Fault, sign: str) -> Command:
    return Command(text, fault, sign, (), Image("", None, False), 0, None, False)
