"""How an action is started, wherever it runs (project-yaml.md section 6 items 1 to 3, threats.md W5)."""

from collections.abc import Iterable, Sequence
from typing import Final

from jobrunner.pipeline.model import Action
from jobrunner.pipeline.patterns import literal_parent

_ARGV_LIMIT: Final = 2**20
_CONFIG_LIMIT: Final = 120 * 1024


def image_name(action: Action) -> str:
    """Image and version. Study repositories rely on `latest` meaning v1."""
    version = "v1" if action.image_version == "latest" else action.image_version
    return f"{action.image}:{version}"


def is_too_long(action: Action, argv: Sequence[str]) -> bool:
    """Whether these words of the action, its config among them, are more than a job may be started with."""
    if sum(len(word.encode("utf-8")) + 1 for word in argv) > _ARGV_LIMIT:
        return True
    return bool(action.config) and len(argv[-1].encode("utf-8")) > _CONFIG_LIMIT


def output_folders(patterns: Iterable[str]) -> tuple[str, ...]:
    """The literal parent folders of output patterns, which exist when a job starts (design.md section 5)."""
    return tuple(sorted({literal_parent(pattern) for pattern in patterns} - {""}))
