"""An approval in a file, signed or not yet."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from jobrunner.cli.errors import Stop

if TYPE_CHECKING:
    from jobrunner.sync.approvals import Payload


@dataclass(frozen=True, slots=True)
class ApprovalFile:
    """`payload_text` is what is signed, `signatures` are empty for what `approval new` printed."""

    payload_text: str
    payload: "Payload"
    signatures: tuple[str, ...]


def read_text(file: Path) -> str:
    """The text of a file, or with `-` of standard input. Raises Stop."""
    from jobrunner.sync.messages import MAX_APPROVAL_BYTES

    most = MAX_APPROVAL_BYTES + 1
    try:
        if str(file) == "-":
            content = sys.stdin.buffer.read(most)
        else:
            with file.open("rb") as opened:
                content = opened.read(most)
        text = content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Stop(f"{file} cannot be read as text; name an approval.") from error
    if len(content) == most:
        raise Stop(f"{file} is too large to be an approval; name another file.")
    return text


def read_approval(file: Path) -> ApprovalFile:
    """What `approval new` or `approval sign` wrote. Raises Stop for anything else."""
    from jobrunner.sync import strict_json
    from jobrunner.sync.approvals import Payload, canonical, read_envelope
    from jobrunner.sync.messages import MAX_APPROVAL_BYTES, Malformed, parse

    text = read_text(file).strip()
    try:
        value = strict_json.parse(text.encode("utf-8"), limit=MAX_APPROVAL_BYTES)
        if isinstance(value, dict) and "payload" in value:
            envelope, payload = read_envelope(text)
            return ApprovalFile(envelope.payload, payload, envelope.signatures)
        payload = parse(Payload, text.encode("utf-8"))
        if canonical(payload.model_dump(mode="json")) != text:
            raise Malformed("it is not in canonical form")
    except (Malformed, strict_json.NotStrictJson) as error:
        raise Stop(f"{file} is no approval: {error}. Make one with `jobrunner approval new`.") from error
    return ApprovalFile(text, payload, ())
