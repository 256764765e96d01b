"""Runs in the copy of the tree: a Python that has loaded pytest and what others wrote, but nothing of ours.

For each line of JSON that it reads it forks; the child calls pytest with these arguments, and imports
what is ours as it stands in the copy just then. The answer is the child's process id, once at its start and
once at its end.
"""

import contextlib
import gc
import importlib
import json
import os
import random
import signal
import sys
from typing import Final

# What most tests import. Nothing here reads settings or starts a thread when it is imported.
_OF_OTHERS: Final = (
    "pytest", "_pytest.junitxml", "_hypothesis_pytestplugin", "hypothesis.strategies",
    "hypothesis.stateful", "pytest_timeout", "pytest_django.plugin", "schemathesis.pytest.plugin",
    "schemathesis.reporting.html.writer", "anyio.pytest_plugin", "xdist.plugin", "django.test",
    "django.db.models", "django.db.backends.sqlite3.base", "pydantic", "docker", "requests", "yaml",
    "cryptography.hazmat.primitives.asymmetric.ed25519", "cryptography.x509", "structlog", "typer",
    "rich.console", "git", "uvicorn", "psutil", "rfc8785", "duckdb", "sqlite3", "http.server",
    "concurrent.futures.thread", "asyncio", "multiprocessing", "xml.etree.ElementTree",
)  # fmt: skip


def main() -> None:
    """Serve until the input ends."""
    for name in sys.argv[1:] or _OF_OTHERS:
        # What a tree does not need may be missing.
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    # What is loaded by now is never looked through again, in no child.
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _become_pytest(json.loads(line))
        _say(child)
        # Before its number is free for another process: what it started and left in its group ends with it.
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        _say(child)


def _become_pytest(arguments: list[str]) -> None:
    """Run pytest in a session of its own, without a word; never returns."""
    status = 70
    try:
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1, 2):
            os.dup2(nowhere, stream)
        random.seed()
        sys.argv = ["pytest", *arguments]
        import pytest

        status = int(pytest.main(arguments))
    finally:
        # The parent's buffers and handlers are not the child's to flush or run; pytest's report is written.
        os._exit(status)


def _say(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
