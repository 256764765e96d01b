"""`jobrunner approval`: for a data controller, who writes, reads, signs and checks what may run."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from jobrunner.cli.errors import Stop
from jobrunner.cli.printable import printable

app = typer.Typer(help="Write, read, sign and check approvals (for data controllers).", no_args_is_help=True)

ApprovalPath = Annotated[
    Path, typer.Argument(metavar="FILE", help="An approval; `-` is standard input.", allow_dash=True)
]


@app.command()
def new(
    project: Annotated[str, typer.Option(help="The project's slug.")],
    site: Annotated[list[str], typer.Option(help="A backend that may run it; can be given again.")],
    repo: Annotated[list[str], typer.Option(help="A repository it may come from; can be given again.")],
    branch: Annotated[list[str], typer.Option(help="A branch of it; can be given again.")],
    commit: Annotated[
        list[str] | None,
        typer.Option(help="A whole commit id; can be given again. Without it: every commit on the branches."),
    ] = None,
    action: Annotated[
        list[str] | None, typer.Option(help="An action; can be given again. Without it: all of them.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="For how many days from now.")] = 365,
    serial: Annotated[int, typer.Option(min=1, help="Higher than in every earlier approval of it.")] = 1,
    database: Annotated[bool, typer.Option(help="Whether its actions may use a database.")] = False,
    dataset: Annotated[
        list[str] | None, typer.Option(help="A dataset that it may read; can be given again.")
    ] = None,
) -> None:
    """Print the text of an approval, to be read by people and then signed with `approval sign`."""
    import re
    import time

    from jobrunner.sync.approvals import Payload, canonical
    from jobrunner.sync.messages import Malformed, parse

    if database != bool(dataset):
        raise Stop("--database and --dataset SLUG go together: give both, or neither.")
    for one in commit or []:
        if re.fullmatch(r"[0-9a-f]{40}", one) is None:
            raise Stop(f"--commit {one}: give the whole id, 40 of 0-9 and a-f, as `git rev-parse` prints it.")
    begin = int(time.time())
    text = canonical(
        {
            "approval_id": f"{project[:28]}-{serial}",
            "serial": serial,
            "project": project,
            "sites": site,
            "repos": repo,
            "branches": branch,
            "commits": commit or "on_branch",
            "actions": action or "all",
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
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="What `approval new` printed, or what another signer made of it.",
            exists=True,
        ),
    ],
    key: Annotated[list[Path], typer.Option(help="SSH private key file of a signer; can be given again.")],
) -> None:
    """Sign an approval with SSH keys and print the envelope, for `jobrunner controller add-approval`.

    Read it before, with `approval show`. Signatures that it has already are kept, so that people can sign one
    after the other.
    """
    import json
    import subprocess

    from jobrunner.cli.approval_file import read_approval
    from jobrunner.sync.approvals import NAMESPACE, read_envelope
    from jobrunner.sync.messages import Malformed

    approval = read_approval(file)
    signatures = list(approval.signatures)
    for place in key:
        done = subprocess.run(
            ["ssh-keygen", "-Y", "sign", "-n", NAMESPACE, "-f", str(place)],
            input=approval.payload_text.encode("utf-8"),
            capture_output=True,
            check=False,
        )
        if done.returncode != 0:
            reason = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
            raise Stop(f"ssh-keygen could not sign with {place}: {''.join(reason)}")
        signatures.append(done.stdout.decode("ascii"))
    envelope = json.dumps({"payload": approval.payload_text, "signatures": signatures})
    try:
        read_envelope(envelope)
    except Malformed as error:
        raise Stop(
            f"{file} with these signatures is no approval: {error}. Sign it with fewer keys."
        ) from error
    sys.stdout.write(envelope + "\n")


@app.command()
def show(file: ApprovalPath) -> None:
    """Say in plain words who may run what, where, and until when, and which keys signed that."""
    import time

    from jobrunner.cli.approval_file import read_approval
    from jobrunner.cli.approval_words import words

    for line in words(read_approval(file), int(time.time())):
        print(printable(line))


@app.command()
def verify(
    file: ApprovalPath,
    signers: Annotated[
        Path, typer.Option(metavar="ALLOWED_SIGNERS", help="The site's list of keys that may sign.")
    ],
    revoked: Annotated[
        Path | None, typer.Option(help="The site's list of revoked keys, if it has one.")
    ] = None,
    threshold: Annotated[int, typer.Option(min=1, max=8, help="How many people the site asks for.")] = 1,
    site: Annotated[str | None, typer.Option(help="The site's slug, to see whether it is named.")] = None,
    serial: Annotated[
        int | None, typer.Option(min=1, help="The highest serial that the site has seen of this project.")
    ] = None,
) -> None:
    """Check an approval as the agent does, and say for each check whether it held and what to do if not.

    Status 0 means that nothing was refused.
    """
    import time

    from jobrunner.agent.approval_looks import ADVICE, KeyFiles, looks
    from jobrunner.agent.policy import PolicyProblem
    from jobrunner.cli.approval_file import read_text

    try:
        made = looks(
            read_text(file),
            KeyFiles(signers, revoked),
            now=int(time.time()),
            threshold=threshold,
            site=site,
            highest_serial=serial,
        )
    except PolicyProblem as error:
        raise Stop(f"The agent would not start with these files: {error}") from error
    for look in made:
        if look.refused is None:
            print(f"held     {look.check:<11} {printable(look.found)}")
        else:
            why = f"{look.refused.reason.value} ({look.refused.detail})"
            advice = ADVICE[look.refused.detail]
            print(f"REFUSED  {look.check:<11} {why}: {printable(look.refused.message)} {advice}")
    left = [name for name, given in (("--site", site), ("--serial", serial)) if given is None]
    if left:
        print(f"Not looked at, since not given: {', '.join(left)}.")
    print(
        "Only with a job can be told whether its project, repository, branch, commit and action are covered."
    )
    refused = next((look.refused for look in made if look.refused is not None), None)
    if refused is not None:
        raise Stop(f"The agent refuses this approval: {refused.reason.value} ({refused.detail}).")
