"""`jobrunner approval`: for a data controller, who writes and signs what may run."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from jobrunner.cli.errors import Stop

app = typer.Typer(help="Write and sign approvals (for data controllers).", no_args_is_help=True)


@app.command()
def new(
    project: Annotated[str, typer.Option(help="The project's slug.")],
    site: Annotated[list[str], typer.Option(help="A backend that may run it; can be given again.")],
    repo: Annotated[list[str], typer.Option(help="A repository it may come from; can be given again.")],
    branch: Annotated[list[str], typer.Option(help="A branch of it; can be given again.")],
    days: Annotated[int, typer.Option(min=1, max=3650, help="For how many days from now.")] = 365,
    serial: Annotated[int, typer.Option(min=1, help="Higher than in every earlier approval of it.")] = 1,
    database: Annotated[bool, typer.Option(help="Whether its actions may use a database.")] = False,
    dataset: Annotated[list[str] | None, typer.Option(help="A database it may use.")] = None,
) -> None:
    """Print the text of an approval, to be read by people and then signed with `approval sign`."""
    import time

    from jobrunner.sync.approvals import Payload, canonical
    from jobrunner.sync.messages import Malformed, parse

    begin = int(time.time())
    text = canonical(
        {
            "approval_id": f"{project[:28]}-{serial}",
            "serial": serial,
            "project": project,
            "sites": site,
            "repos": repo,
            "branches": branch,
            "commits": "on_branch",
            "actions": "all",
            "database": database,
            "datasets": dataset or [],
            "not_before": begin - 60,
            "not_after": begin + days * 86400,
        }
    )
    try:
        parse(Payload, text.encode("utf-8"))
    except Malformed as error:
        raise Stop(f"This approval would not be valid: {error}. Mend these options.") from error
    print(text)


@app.command()
def sign(
    payload: Annotated[
        Path, typer.Argument(help="What `approval new` printed.", exists=True, dir_okay=False)
    ],
    key: Annotated[list[Path], typer.Option(help="SSH private key file of a signer; can be given again.")],
) -> None:
    """Sign an approval with SSH keys and print the envelope, for `jobrunner controller add-approval`."""
    import json
    import subprocess

    from jobrunner.sync.approvals import NAMESPACE, read_envelope
    from jobrunner.sync.messages import Malformed

    text = payload.read_text(encoding="utf-8").strip()
    signatures = []
    for place in key:
        done = subprocess.run(
            ["ssh-keygen", "-Y", "sign", "-n", NAMESPACE, "-f", str(place)],
            input=text.encode("utf-8"),
            capture_output=True,
            check=False,
        )
        if done.returncode != 0:
            reason = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
            raise Stop(f"ssh-keygen could not sign with {place}: {''.join(reason)}")
        signatures.append(done.stdout.decode("ascii"))
    envelope = json.dumps({"payload": text, "signatures": signatures})
    try:
        read_envelope(envelope)
    except Malformed as error:
        raise Stop(
            f"{payload} is not an approval: {error}. Make it with `jobrunner approval new`."
        ) from error
    sys.stdout.write(envelope + "\n")
