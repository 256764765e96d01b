"""`jobrunner images`: the images that actions run in, and how they get to a place without a registry."""

import json as json_format
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from jobrunner.cli.errors import Stop

if TYPE_CHECKING:
    from jobrunner.executors.image_bundle import Counted

app = typer.Typer(help="Images that actions run in: list, build, export, import.", no_args_is_help=True)

_WIDTH: Final = 136

Names = Annotated[
    list[str] | None, typer.Argument(metavar="[NAME:VERSION]...", help="Such as python:v2; without, all.")
]


@app.command("list")
def list_images(json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False) -> None:
    """List the images that there are recipes for, and those of ours that the engine has."""
    from jobrunner.executors.image_build import ImageError
    from jobrunner.executors.image_listing import listed

    try:
        found = listed()
    except ImageError as error:
        raise Stop(f"{error}.") from error
    if json:
        from dataclasses import asdict

        print(json_format.dumps({"images": [asdict(image) for image in found]}, indent=2))
        return
    from rich.console import Console
    from rich.filesize import decimal
    from rich.table import Table

    table = Table()
    for name in ("Name", "Image id"):
        table.add_column(name, no_wrap=True)
    for name in ("Size", "Built here", "In the engine"):
        table.add_column(name, justify="right")
    for image in found:
        table.add_row(
            image.name,
            image.image_id or "-",
            "-" if image.size is None else decimal(image.size),
            "yes" if image.built_here else "no",
            "?" if image.in_engine is None else "yes" if image.in_engine else "no",
        )
    # An id is of use only whole; a narrow terminal breaks the lines itself.
    Console(width=max(Console().width, _WIDTH)).print(table)
    if any(image.in_engine is None for image in found):
        print("The Docker engine does not answer, so what it has is not known.", file=sys.stderr)


@app.command()
def build(names: Names = None) -> None:
    """Build images from their recipes, load them, and print the lines for the site's policy."""
    from jobrunner.executors import images
    from jobrunner.executors.image_build import ImageError, read_recipe

    try:
        for name in _chosen(names):
            image_id = images.ensure(name, _tell)
            recipe = read_recipe(images.recipe_root() / images.folder_of(name))
            _print_policy(name, image_id, recipe.entrypoint)
    except ImageError as error:
        raise Stop(f"{error}.") from error
    except OSError as error:
        raise Stop(
            f"{error.filename} cannot be written: {error.strerror}. Mend that and try again."
        ) from error


@app.command()
def export(
    output: Annotated[Path, typer.Option(help="The file to write, such as images.tar.gz.")],
    names: Names = None,
) -> None:
    """Write images to ONE file, for `images import` where there is no registry. Builds what is not built."""
    from jobrunner.executors import images
    from jobrunner.executors.image_build import ImageError
    from jobrunner.executors.image_bundle import export as export_images

    try:
        archives = {name: images.build(name, _tell)[0] for name in _chosen(names)}
        with _bar("writing") as counted:
            written = export_images(archives, output, counted)
    except ImageError as error:
        raise Stop(f"{error}.") from error
    except OSError as error:
        raise Stop(f"{output} cannot be written: {error.strerror}. Choose another place.") from error
    print(f"Wrote {output}. Tell these ids to whoever imports it, by another way than the file:")
    for image in written:
        print(f"{image.name}={image.image_id}")


@app.command("import")
def import_images(
    file: Annotated[Path, typer.Argument(help="A file of `jobrunner images export`.")],
    expect: Annotated[
        list[str] | None,
        typer.Option("--id", help="NAME:VERSION=sha256:ID that the file must have; can be given again."),
    ] = None,
) -> None:
    """Check every byte of the file, load its images, and print the lines for the site's policy."""
    from jobrunner.executors import images
    from jobrunner.executors.image_build import ImageError
    from jobrunner.executors.image_import import import_bundle

    expected = _expected(expect or [])
    try:
        with _bar("checking") as counted:
            made = import_bundle(file, images.cache_root(), expected, counted)
    except ImageError as error:
        raise Stop(f"{error}.") from error
    except OSError as error:
        raise Stop(f"{error.filename or file}: {error.strerror}. Mend that and try again.") from error
    if not expected:
        print(
            "# Compare these ids with those that `images export` printed: the file alone cannot prove them."
        )
    for image in made:
        _print_policy(image.name, image.image_id, image.entrypoint)


def _chosen(names: list[str] | None) -> list[str]:
    """The images that are meant, each once. Raises Stop for one without a recipe."""
    from jobrunner.executors import images

    known = images.names()
    for name in names or ():
        if name not in known:
            raise Stop(f"There is no recipe for {name!r}. There is one for {', '.join(known)}.")
    return list(dict.fromkeys(names or known))


def _expected(words: Iterable[str]) -> dict[str, str]:
    from jobrunner.executors.image_build import ImageError
    from jobrunner.executors.image_bundle import hex_of

    found: dict[str, str] = {}
    for word in words:
        name, _, image_id = word.partition("=")
        try:
            hex_of(image_id)
        except ImageError as error:
            raise Stop(
                f"--id {word!r} is not NAME:VERSION=sha256:ID, as `images export` prints it."
            ) from error
        if found.setdefault(name, image_id) != image_id:
            raise Stop(f"--id gives two ids for {name}. Keep the right one.")
    return found


def _print_policy(name: str, image_id: str, entrypoint: Iterable[str]) -> None:
    """A section of agent.toml; JSON and TOML write printable ASCII alike."""
    print(f'[images."{name}"]')
    print(f'id = "{image_id}"')
    print(f"entrypoint = {json_format.dumps(list(entrypoint))}")
    print(flush=True)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@contextmanager
def _bar(what: str) -> Iterator["Counted"]:
    """A progress bar on standard error; where that is no terminal, nothing."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
