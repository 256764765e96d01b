"""The key with which the agent of a site signs what it says."""

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from jobrunner.agent.policy import PolicyProblem, Site
from jobrunner.sync.signing import KeyProblem, load_private_key


def agent_key(site: Site) -> Ed25519PrivateKey:
    """Read it; raises PolicyProblem."""
    try:
        return load_private_key(site.agent_key)
    except KeyProblem as error:
        raise PolicyProblem(f"keys.agent_key_file: {error}") from error
