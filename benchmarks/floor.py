"""The floor: the engine alone, with the same image id and the same argv, and no sandbox around it."""

import time
from collections.abc import Sequence
from typing import Any


def raw_run(engine: Any, image_id: str, entrypoint: Sequence[str], argv: Sequence[str]) -> float:
    """Create, start, wait for and remove one container; seconds."""
    began = time.monotonic()
    container = engine.create_container_from_config(
        {
            "Image": image_id,
            "Entrypoint": list(entrypoint),
            "Cmd": list(argv),
            "HostConfig": {"NetworkMode": "none"},
        }
    )
    engine.start(container["Id"])
    ended = engine.wait(container["Id"])
    engine.remove_container(container["Id"])
    if ended["StatusCode"] != 0:
        raise RuntimeError(f"the raw run ended with {ended}")
    return time.monotonic() - began
