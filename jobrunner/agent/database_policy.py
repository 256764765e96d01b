"""The [database] section of the site's policy: what it says, and when the agent will not start with it.

A fault is a text that begins with the name of the setting inside the section and says what to do.
"""

import stat
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from jobrunner.agent.policy_wording import name_text
from jobrunner.executors.database import Database, Kind, fault_of
from jobrunner.sync.messages import Slug

ANY: Final = "any"
_OTHERS_WRITE: Final = stat.S_IWGRP | stat.S_IWOTH


class DatabaseSection(BaseModel):
    """The database file of this site and which images may have it (threats.md section 3 item 1).

    `images` maps an image id to the first arguments that may have it, or to "any" (also none at all).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    dataset: Slug
    kind: Kind
    file: Annotated[str, Field(pattern=r"^[^\x00]+$")]
    public: bool = False
    slots: Annotated[int, Field(ge=1, le=64)] = 1
    images: Annotated[
        dict[str, Literal["any"] | Annotated[tuple[str, ...], Field(min_length=1, max_length=64)]],
        Field(min_length=1),
    ]

    def allows(self, image_id: str) -> bool:
        """Whether jobs of this image may have the database at all."""
        return image_id in self.images

    def allows_argument(self, image_id: str, argv: tuple[str, ...]) -> bool:
        """Whether they may with this first argument. `argv` is as in project.yaml, without any config."""
        words = self.images[image_id]
        return words == ANY or (bool(argv) and argv[0] in words)


def fault_of_section(
    section: DatabaseSection, *, slots: int, image_ids: Collection[str], addresses: Iterable[str]
) -> str | None:
    """What is wrong with the values. `addresses` are those of the controller and of the git hosts."""
    if section.slots > slots:
        return f"slots: this site runs {slots} jobs at once (limits.slots); lower it, or raise that."
    for image_id in section.images:
        if image_id not in image_ids:
            return (
                f"images: no entry of [images] has the id {name_text(image_id)}; correct it or take it out."
            )
    if not section.public and not all(address.startswith("https://") for address in addresses):
        return (
            "public: a database that is not public needs https for controller.url, git.allowed and "
            "reusable_actions.prefix; use that, or mark the database `public = true` if everybody may read "
            "it."
        )
    return None


def fault_of_file(database: Database, *, public: bool, cache: Path) -> str | None:
    """What is wrong with the file. It is linked into folders.cache, so both lie on one file system."""
    try:
        fault = fault_of(database)
        if fault is not None:
            return f"file: {fault}."
        file = database.path.resolve()
        if file.parent.stat().st_mode & _OTHERS_WRITE:
            return f"file: others can change {file.parent} and so replace the file; chmod it go-w."
        if not public and all(folder.stat().st_mode & stat.S_IXOTH for folder in file.parents):
            return f"file: everybody on this machine can read {file}; chmod {file.parent} to 0700."
        if file.stat().st_dev != _nearest(cache).stat().st_dev:
            return (
                f"file: {file} lies on another file system than folders.cache ({cache}); move one of them, "
                "since a job gets a hard link to the file."
            )
    except OSError as error:
        return f"file: {database.path} cannot be read ({error.strerror}); name the database file."
    return None


def _nearest(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists already."""
    return next(place for place in (folder, *folder.parents) if place.exists())
