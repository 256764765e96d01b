"""`jobrunner agent`: the service inside the data centre."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

from jobrunner.cli.agent_run import run_agent
from jobrunner.cli.attest import attest
from jobrunner.cli.errors import Stop

app = typer.Typer(help="The agent inside a data centre (for its admins).", no_args_is_help=True)

POLICY: Final = Path("/etc/jobrunner/agent.toml")
"""Where the service reads its policy from, so that a site with one agent need not name the file."""

PolicyFile = Annotated[
    Path, typer.Argument(metavar="POLICY", help="The site's policy file, as `agent init` wrote it.")
]

Wait = Annotated[bool, typer.Option(help="Wait until the agent has ended, and say what still runs.")]


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="Where policy and keys shall lie, such as /etc/jobrunner.")],
    backend: Annotated[str, typer.Option(help="This data centre's slug at the controller.")],
    controller: Annotated[str, typer.Option(help="Address of the controller, https://...")],
    git: Annotated[list[str], typer.Option(help="A prefix of allowed repositories; can be given again.")],
    data: Annotated[Path, typer.Option(help="Where stores, journal and cache shall lie.")] = Path(
        "/var/lib/jobrunner"
    ),
    image: Annotated[
        list[str] | None, typer.Option(help="NAME:VERSION=sha256:ID; can be given again.")
    ] = None,
    mode: Annotated[str, typer.Option(help="production, dev or test.")] = "production",
    database: Annotated[
        str | None, typer.Option(help="The file that database actions may read: sqlite=PATH or duckdb=PATH.")
    ] = None,
    dataset: Annotated[str | None, typer.Option(help="Its slug, which an approval must name.")] = None,
    database_image: Annotated[
        list[str] | None,
        typer.Option(help="NAME:VERSION of an --image that may have it; can be given again."),
    ] = None,
    database_public: Annotated[
        bool, typer.Option("--database-public", help="Everybody may read it, as in a demonstration.")
    ] = False,
) -> None:
    """Write a commented policy file and the agent's key; print the public key for the controller."""
    from jobrunner.agent.first_files import AlreadyThere, FirstDatabase, write_first_files
    from jobrunner.agent.policy import PolicyProblem
    from jobrunner.agent.uid_pool import shared_ids

    first_database = None
    if database is not None and dataset and database_image:
        first_database = FirstDatabase(database, dataset, tuple(database_image), database_public)
    elif database is not None:
        raise Stop("--database needs --dataset SLUG and --database-image NAME:VERSION; add them.")
    elif dataset or database_image or database_public:
        raise Stop("--dataset, --database-image and --database-public belong to --database; add it.")
    try:
        public_key = write_first_files(
            folder,
            backend=backend,
            controller=controller,
            mode=mode,
            git=git,
            data=data.absolute(),
            images=image or [],
            database=first_database,
        )
    except AlreadyThere as error:
        raise Stop(f"{error} already exists and was left as it is. Remove it first to start anew.") from error
    except PolicyProblem as error:
        raise Stop(str(error)) from error
    except OSError as error:
        raise Stop(
            f"{folder} cannot be written: {error.strerror}. Choose another folder or be root."
        ) from error
    print(
        f"Wrote agent.toml (the policy of this site: read it), agent_key.pem and allowed_signers to {folder}."
    )
    for sentence in shared_ids():
        print(f"Warning: {sentence}", file=sys.stderr)
    print("The agent's public key, for `jobrunner controller create-backend --public-key`:")
    print(public_key)
    print(f"Then put the token which that command prints into {folder}/credential (mode 0600),")
    print("the data controllers' SSH public keys into allowed_signers, and start")
    print(f"  jobrunner agent run {folder}/agent.toml")


@app.command()
def run(policy: PolicyFile = POLICY) -> None:
    """Run the agent until it is told to end.

    `agent drain` or TERM lets running jobs finish, `agent abort` or a second TERM ends them.
    """
    raise typer.Exit(run_agent(policy))


app.command()(attest)


@app.command()
def schema(
    policy: PolicyFile,
    output: Annotated[Path | None, typer.Option(help="Where to write it; else it is printed.")] = None,
) -> None:
    """Write the schema of this site's database for researchers: names and types only, nothing from rows."""
    from jobrunner.agent.policy import PolicyProblem, database_of
    from jobrunner.dummy_data.published import CannotTell, published_schema

    try:
        database = database_of(policy)
        text = published_schema(database.kind, database.path)
    except (PolicyProblem, CannotTell) as error:
        raise Stop(str(error)) from error
    if output is None:
        print(text, end="")
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Stop(f"{output} cannot be written: {error.strerror}. Choose another place.") from error
    print(f"Wrote {output}. Read it before you publish it: names are told as the database has them.")


@app.command()
def drain(
    policy: PolicyFile = POLICY,
    wait: Wait = True,
) -> None:
    """Have the agent start nothing new, finish what runs, tell it, and end."""
    _end(policy, "drain", wait)


@app.command()
def abort(
    policy: PolicyFile = POLICY,
    wait: Wait = True,
) -> None:
    """Have the agent end what runs, as cancelled by the site, and end within a minute."""
    _end(policy, "abort", wait)


def _end(policy: Path, word: str, wait: bool) -> None:
    from jobrunner.agent.control import Word
    from jobrunner.agent.operating import CannotEnd, end_lines
    from jobrunner.agent.policy import PolicyProblem

    try:
        for line in end_lines(policy, Word(word), wait=wait):
            print(line, flush=True)
    except (PolicyProblem, CannotEnd) as error:
        raise Stop(str(error)) from error


@app.command()
def canary(policy: PolicyFile = POLICY) -> None:
    """Have the running agent try its sandbox now, as after a repair; claims go on if every wall holds."""
    from jobrunner.agent.operating import canary_lines

    _ask(policy, canary_lines)


@app.command("trust-clock")
def trust_clock(policy: PolicyFile = POLICY) -> None:
    """Say that the machine's clock is right, though the journal knows later times, which were wrong."""
    from jobrunner.agent.operating import trust_clock_lines

    _ask(policy, trust_clock_lines)


def _ask(policy: Path, lines: Callable[[Path], Iterator[str]]) -> None:
    from jobrunner.agent.operating import CannotAsk
    from jobrunner.agent.policy import PolicyProblem

    try:
        for line in lines(policy):
            print(line, flush=True)
    except (PolicyProblem, CannotAsk) as error:
        raise Stop(str(error)) from error


@app.command()
def status(
    policy: PolicyFile = POLICY,
    last: Annotated[int, typer.Option(min=1, max=1000, help="How many attempts and refusals to show.")] = 20,
) -> None:
    """Show whether the agent runs, what it is doing, and the exact reasons that never leave this site."""
    from jobrunner.agent.journal import JournalProblem
    from jobrunner.agent.policy import PolicyProblem
    from jobrunner.agent.status import status_lines

    try:
        for line in status_lines(policy, last):
            print(line)
    except (PolicyProblem, JournalProblem) as error:
        raise Stop(str(error)) from error
