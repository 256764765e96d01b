"""The agents' calls in the API's OpenAPI description, taken from the classes of the wire itself."""

from typing import Any, Final, TypeVar

from jobrunner.controller.edge import AGENT_PATHS
from jobrunner.sync.messages import (
    ATTEMPT_HEADER,
    Claim,
    ClaimReply,
    ErrorReply,
    Events,
    EventsReply,
    Hello,
    HelloReply,
    Message,
    Poll,
    PollReply,
    Renew,
    RenewReply,
)

S = TypeVar("S", bound=dict[str, Any])

_CALLS: Final[dict[str, tuple[type[Message], type[Message], bool]]] = {
    "hello": (Hello, HelloReply, False),
    "poll": (Poll, PollReply, False),
    "claim": (Claim, ClaimReply, False),
    "renew": (Renew, RenewReply, True),
    "events": (Events, EventsReply, True),
}
"""By name: the message, its reply, and whether an attempt token goes with it."""

_REFUSALS: Final = {
    "400": "malformed or unknown field",
    "401": "no or unknown credential",
    "403": "another backend's job, or a token or signature that does not fit",
    "404": "unknown job",
    "409": "stale_attempt or taken",
    "426": "unknown_protocol",
    "429": "slow_down",
    "503": "locked: try again later",
}


def with_agent_calls(schema: S) -> S:
    """The description with a path for each call of an agent."""
    components = schema.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    components.setdefault("securitySchemes", {})["AgentCredential"] = {"type": "http", "scheme": "bearer"}
    for name, (message, reply, with_token) in _CALLS.items():
        operation: dict[str, Any] = {
            "operationId": f"agent_{name}",
            "tags": ["agent"],
            "summary": (message.__doc__ or "").splitlines()[0],
            "security": [{"AgentCredential": []}],
            "requestBody": {"required": True, "content": _json(message, schemas)},
            "responses": {
                "200": {
                    "description": (reply.__doc__ or "").splitlines()[0],
                    "content": _json(reply, schemas),
                }
            },
        }
        for status, meaning in _REFUSALS.items():
            operation["responses"][status] = {"description": meaning, "content": _json(ErrorReply, schemas)}
        if with_token:
            header = {"name": ATTEMPT_HEADER, "in": "header", "required": True, "schema": {"type": "string"}}
            operation["parameters"] = [header]
        schema["paths"][AGENT_PATHS + name] = {"post": operation}
    return schema


def _json(kind: type[Message], schemas: dict[str, Any]) -> dict[str, Any]:
    """A reference to the class's schema, which is added with all that it uses."""
    found = kind.model_json_schema(ref_template="#/components/schemas/Agent{model}")
    for name, definition in found.pop("$defs", {}).items():
        schemas[f"Agent{name}"] = definition
    schemas[f"Agent{kind.__name__}"] = found
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/Agent{kind.__name__}"}}}
