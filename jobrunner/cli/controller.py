"""`jobrunner controller`: run the controller, and make what it needs to know."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from jobrunner.cli.errors import Stop

app = typer.Typer(
    no_args_is_help=True,
    help="Run the controller (the internet side), and register projects, backends, approvals and people.",
)

Data = Annotated[
    Path | None,
    typer.Option("--data", help="Folder of database, key and mirrors [env: JOBRUNNER_CONTROLLER_DATA]."),
]

BackendName = Annotated[str, typer.Argument(metavar="BACKEND", help="Its slug, as in create-backend.")]


@contextmanager
def _controller(data: Path | None) -> Iterator[None]:
    """Everything that a command on a controller needs that is set up; problems end it with one sentence."""
    from jobrunner.controller import startup
    from jobrunner.controller.configuration import ConfigurationProblem

    try:
        startup.set_up(data)
        startup.open_database()
    except ConfigurationProblem as problem:
        raise Stop(str(problem)) from problem
    from jobrunner.controller.projects.approvals import ApprovalProblem
    from jobrunner.controller.projects.register import RegisterProblem
    from jobrunner.sync.signing import KeyProblem

    try:
        yield
    except (ApprovalProblem, RegisterProblem, KeyProblem) as problem:
        raise Stop(str(problem)) from problem


@app.command()
def serve(
    data: Data = None,
    host: Annotated[str, typer.Option(help="Address to listen on; put a TLS proxy in front.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8000,
) -> None:
    """Serve the public feed, the researchers' API and the agents' API. Sets a new controller up first."""
    from jobrunner.controller import startup
    from jobrunner.controller.configuration import ConfigurationProblem

    try:
        chosen = startup.set_up(data, create=True, serving=True)
        opened = startup.open_database(create=True)
    except ConfigurationProblem as problem:
        raise Stop(str(problem)) from problem
    if opened.is_new:
        typer.echo(f"This is a new controller. Its data folder is {chosen.data}.")
    typer.echo(f"The controller listens on http://{host}:{port}/ - stop it with Ctrl-C.")
    sys.stdout.flush()
    startup.serve(host, port)


@app.command()
def migrate(data: Data = None) -> None:
    """Set a new controller up, or bring the database up to date with this version of the program."""
    from jobrunner.controller import startup
    from jobrunner.controller.configuration import ConfigurationProblem

    try:
        chosen = startup.set_up(data, create=True)
        opened = startup.open_database(create=True, migrate=True)
    except ConfigurationProblem as problem:
        raise Stop(str(problem)) from problem
    if opened.is_new:
        typer.echo(f"This is a new controller. Its data folder is {chosen.data}.")
    made = len(opened.steps)
    typer.echo(f"{made} {'step' if made == 1 else 'steps'} made." if made else "The database is up to date.")
    there = "" if data is None else f" --data {data}"
    typer.echo(f"Next: jobrunner controller serve{there}")


@app.command("create-project")
def create_project(
    slug: Annotated[str, typer.Argument(help="Name in a-z, 0-9 and `-`, at most 40 characters.")],
    title: Annotated[str, typer.Option(help="What the public reads as its name.")],
    purpose: Annotated[str, typer.Option(help="Why the research is done; public.")],
    legal_basis: Annotated[str, typer.Option(help="What allows it; public.")],
    update: Annotated[bool, typer.Option("--update", help="Change the texts of one that exists.")] = False,
    data: Data = None,
) -> None:
    """Register an approved piece of research."""
    with _controller(data):
        from django.utils import timezone

        from jobrunner.controller.projects import register

        _, new = register.create_project(
            slug, title=title, purpose=purpose, legal_basis=legal_basis, update=update, now=timezone.now()
        )
    typer.echo(f"Project `{slug}` is {'registered' if new else 'changed'}.")
    typer.echo(
        "Next: jobrunner controller add-approval FILE, with an approval that its data controller signed."
    )


@app.command("create-backend")
def create_backend(
    slug: Annotated[str, typer.Argument(help="Name of the data centre in a-z, 0-9 and `-`.")],
    public_key: Annotated[str, typer.Option(help="All that `jobrunner agent init` printed as public key.")],
    title: Annotated[str, typer.Option(help="What the public reads as its name.")] = "",
    renew: Annotated[
        bool, typer.Option("--renew", help="Give one that exists this key and a new credential.")
    ] = False,
    data: Data = None,
) -> None:
    """Register a data centre; prints its agent's credential, once."""
    with _controller(data):
        from django.utils import timezone

        from jobrunner.controller.projects import register

        if renew:
            _, secret = register.renew_backend(slug, public_key=public_key)
        else:
            _, secret = register.create_backend(slug, title=title, public_key=public_key, now=timezone.now())
    # As with a token: the secret alone on standard output.
    typer.echo(f"Backend `{slug}` is registered. The credential of its agent, shown only now:", err=True)
    typer.echo(secret)
    typer.echo(
        "Next: put it into the file that the agent's policy names as its credential, with mode 0600.",
        err=True,
    )


@app.command("add-approval")
def add_approval(
    file: Annotated[
        Path, typer.Argument(help="The signed approval, as JSON; `-` is standard input.", allow_dash=True)
    ],
    data: Data = None,
) -> None:
    """Store an approval that a data controller signed. Agents judge its signatures, not the controller."""
    try:
        text = sys.stdin.buffer.read().decode() if str(file) == "-" else file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Stop(f"{file} cannot be read as text.") from error
    with _controller(data):
        from django.utils import timezone

        from jobrunner.controller.projects import approvals

        approval, new = approvals.store(text, now=timezone.now())
        label = f"Approval `{approval.approval_id}`, serial {approval.serial},"
        label += f" of project `{approval.project.slug}`"
    typer.echo(f"{label} {'is stored' if new else 'was stored before'}.")
    typer.echo("Next: jobrunner controller create-token PERSON --project PROJECT")


@app.command("create-token")
def create_token(
    person: Annotated[str, typer.Argument(help="User name; the public feed shows who asked.")],
    project: Annotated[list[str], typer.Option(help="Project it may be used for; may be given again.")],
    days: Annotated[int, typer.Option(min=1, max=366, help="After this many days it ends.")] = 90,
    data: Data = None,
) -> None:
    """Make a person's token; prints it, once. The person becomes a member of the projects."""
    with _controller(data):
        from django.utils import timezone

        from jobrunner.controller.accounts import tokens
        from jobrunner.controller.projects import register

        now = timezone.now()
        member, projects = register.join(person, tuple(project), now=now)
        secret = tokens.create(member, projects, days=days, now=now)
    # The token alone on standard output, so that a program can take it as it is.
    named = ", ".join(project)
    typer.echo(f"Token of `{person}` for {named}, good for {days} days, shown only now:", err=True)
    typer.echo(secret)
    typer.echo("Next: save it as ~/.config/jobrunner/token with mode 0600, or set JOBRUNNER_TOKEN.", err=True)


@app.command()
def pause(backend: BackendName, data: Data = None) -> None:
    """Let nothing new start at a backend; what runs goes on. Says what that is."""
    with _controller(data):
        running, waiting = _set_paused(backend, True)
    typer.echo(f"Backend `{backend}` is paused: nothing new starts there.")
    if running:
        typer.echo(f"{_jobs(len(running), 'still run')} there, to the end:")
        for line in running:
            typer.echo(f"  {line}")
    else:
        typer.echo("Nothing runs there.")
    typer.echo(f"{_jobs(waiting, 'wait')} there. Next: jobrunner controller resume {backend}")


@app.command()
def resume(backend: BackendName, data: Data = None) -> None:
    """Let a paused backend go on."""
    with _controller(data):
        _, waiting = _set_paused(backend, False)
    typer.echo(f"Backend `{backend}` goes on. {_jobs(waiting, 'wait')} there.")


def _set_paused(slug: str, paused: bool) -> tuple[list[str], int]:
    """A line for each job that runs there, and how many jobs wait."""
    from django.utils import timezone

    from jobrunner.controller.jobs import pausing
    from jobrunner.controller.projects.models import Backend

    backend = Backend.objects.filter(slug=slug).first()
    if backend is None:
        raise Stop(f"There is no backend `{slug}`.")
    pausing.set_paused(backend, paused, now=timezone.now())
    return pausing.what_runs(backend), pausing.how_many_wait(backend)


def _jobs(count: int, verb: str) -> str:
    """Such as `1 job waits`, from `wait`."""
    if count == 1:
        return f"1 job {verb}s"
    return f"{count or 'No'} jobs {verb}"
