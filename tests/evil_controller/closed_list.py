"""Whether a request is of the closed list of wall W1 (threats.md section 1), looked at from the outside."""

import json
from typing import Final

from jobrunner.sync.messages import Claim, Events, Hello, Malformed, Poll, Renew, parse
from tests.evil_controller.server import Request

_BODIES: Final = {"hello": Hello, "poll": Poll, "claim": Claim, "renew": Renew, "events": Events}
_HEADERS: Final = {
    "Host", "Authorization", "User-Agent", "Accept", "Accept-Encoding", "Content-Type", "Content-Length",
}  # fmt: skip
_WITH_TOKEN: Final = _HEADERS | {"Jobrunner-Attempt"}


def unlisted(request: Request) -> str:
    """What is not of the list, "" for a request that is wholly of it."""
    names = [name for name, _value in request.headers]
    allowed = _WITH_TOKEN if request.call in ("renew", "events") else _HEADERS
    if more := set(names) - allowed:
        return f"{request.call}: headers {sorted(more)}"
    if len(set(names)) != len(names):
        return f"{request.call}: a header twice"
    if (request.method, request.path) != ("POST", f"/api/v1/agent/{request.call}"):
        return f"{request.method} {request.path}"
    try:
        said = parse(_BODIES[request.call], request.body)
    except (KeyError, Malformed) as problem:
        return f"{request.call}: {problem}"
    return "" if json.loads(said.to_bytes()) == json.loads(request.body) else f"{request.call}: another body"
