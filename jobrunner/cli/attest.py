"""`jobrunner agent attest`: try the sandbox, write down what happened, check such a report."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from jobrunner.cli.errors import Stop
from jobrunner.cli.printable import printable, printable_lines

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def attest(
    policy: Annotated[
        Path, typer.Argument(metavar="POLICY", help="The site's policy file, as `agent init` wrote it.")
    ] = Path("/etc/jobrunner/agent.toml"),
    output: Annotated[
        Path | None, typer.Option(help="Where to write the report; its signature gets .sig behind the name.")
    ] = None,
    verify: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Try nothing: check this report against its signature."),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="ed25519:...", help="With --verify: the agent's public key. Else that of POLICY."
        ),
    ] = None,
) -> None:
    """Attack this site's own sandbox and write a signed report of what was tried and what was refused.

    Nothing need be stopped for it, and it may be run before the agent ever was. It takes about three seconds
    for each image. Status 0 means that every wall held; the report is written in any case.

    With --verify, status 0 means that the report is what the agent wrote, whatever it says.
    """
    if verify is not None:
        if output is not None:
            raise Stop("--output belongs to a new report, --verify to one that is there; give one of them.")
        _verify(verify, policy, key)
    elif key is not None:
        raise Stop("--key belongs to --verify FILE; a new report is signed with the key that POLICY names.")
    else:
        _attest(policy, output)


def _attest(policy: Path, output: Path | None) -> None:
    from jobrunner.agent.agent_key import agent_key
    from jobrunner.agent.attest import CannotAttest, require_free, signature_of, try_site, write_signed
    from jobrunner.agent.attestation import Running
    from jobrunner.agent.attestation_text import verdict
    from jobrunner.agent.folder_policy import check_folders
    from jobrunner.agent.policy import PolicyProblem, load_site
    from jobrunner.sync.signing import public_key_text

    try:
        site = load_site(policy)
        check_folders(site, policy)
        public = public_key_text(agent_key(site))
        report = output or Path(_name(site.policy.backend))
        require_free(report)
        print(f"Trying the sandbox of {site.policy.backend}; running jobs go on.", flush=True)
        found = try_site(site)
        write_signed(site, found.attestation, report)
    except (PolicyProblem, CannotAttest) as error:
        raise Stop(str(error)) from error
    print(f"Wrote {report} and {signature_of(report)}. Anybody can check them with")
    print(f"  jobrunner agent attest --verify {report} --key {public}")
    for problem in found.problems:
        # Not in the report: what an engine says may name things of this machine.
        print(f"Not tried: {printable_lines(problem)}", file=sys.stderr)
    running = found.attestation.running
    if running in (Running.OTHER, Running.HALTED, Running.SILENT):
        print(f"The agent {running.value}.", file=sys.stderr)
    if not found.attestation.held:
        drain = "" if running is Running.NONE else " The agent runs: end it with `jobrunner agent drain`."
        raise Stop(verdict(found.attestation) + drain)
    print(verdict(found.attestation))


def _name(backend: str) -> str:
    import time

    return f"attest-{backend}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.txt"


def _verify(report: Path, policy: Path, key: str | None) -> None:
    from jobrunner.agent.attest import CannotAttest, verified

    public = _public_key(policy, key)
    try:
        found, where = verified(report, public)
    except CannotAttest as error:
        raise Stop(str(error)) from error
    from jobrunner.sync.ssh_signatures import key_fingerprint

    print(f"{report} is what the agent with key {key_fingerprint(public)} signed. It says:")
    print(f"  {printable(found)}")
    print(f"  {printable(where)}")


def _public_key(policy: Path, key: str | None) -> "Ed25519PublicKey":
    from jobrunner.agent.agent_key import agent_key
    from jobrunner.agent.policy import PolicyProblem, load_site
    from jobrunner.sync.signing import KeyProblem, load_public_key

    try:
        return agent_key(load_site(policy)).public_key() if key is None else load_public_key(key)
    except PolicyProblem as error:
        raise Stop(f"{error} Elsewhere than at the agent, give its public key with --key.") from error
    except KeyProblem as error:
        raise Stop(f"--key: {error}") from error
