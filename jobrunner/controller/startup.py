"""Brings the controller up for one command: folder, key, Django, database. Says in words what is missing."""

import os
import resource
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobrunner.controller import configuration, database, secret_key
from jobrunner.controller.configuration import PREFIX, Configuration, ConfigurationProblem

SETTINGS_MODULE = "jobrunner.controller.settings"


def set_up(data: Path | None, *, create: bool = False, serving: bool = False) -> Configuration:
    """Read the configuration and set Django up; `data` overrides the variable.

    Only with `create` are data folder and key made where missing. With `serving` the settings that only the
    server needs are checked too. Raises ConfigurationProblem for a setting that is missing or unsafe.
    """
    if data is not None:
        os.environ[PREFIX + "DATA"] = str(data.absolute())
    chosen = configuration.from_environment(os.environ)
    if chosen.data is None or chosen.key_file is None:
        raise ConfigurationProblem(
            "DATA", "name the folder that holds the controller's data, or give --data."
        )
    configuration.check_values(chosen)
    if serving:
        configuration.check_hosts(chosen)
    rows = database.settings_of(chosen)
    # Database, key and mirrors are for this user alone.
    os.umask(0o077)
    try:
        if create:
            chosen.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        else:
            _require_controller(chosen.data, chosen.key_file, rows)
        key = secret_key.ensure(chosen.key_file)
    except FileExistsError:
        raise ConfigurationProblem("DATA", f"{chosen.data} is not a folder; name another one.") from None
    except OSError as error:
        raise ConfigurationProblem("DATA", f"{chosen.data} cannot be used: {error.strerror}.") from error
    configuration.check_key(chosen, key)
    os.environ["DJANGO_SETTINGS_MODULE"] = SETTINGS_MODULE
    import django

    django.setup()
    return chosen


def _require_controller(data: Path, key_file: Path, rows: Mapping[str, Any]) -> None:
    """Raise ConfigurationProblem where no controller is: a mistyped folder must not make one."""
    advice = f"Correct the path, or set a new controller up with: jobrunner controller migrate --data {data}"
    if not data.is_dir():
        raise ConfigurationProblem("DATA", f"there is no folder {data}. {advice}")
    if rows["ENGINE"].endswith("sqlite3") and not Path(rows["NAME"]).is_file():
        raise ConfigurationProblem("DATA", f"there is no database {rows['NAME']}. {advice}")
    if not key_file.is_file():
        raise ConfigurationProblem("DATA", f"there is no key {key_file}. {advice}")


@dataclass(frozen=True, slots=True)
class Opened:
    """A database that is up to date: whether it was empty before, and the names of the steps made now."""

    is_new: bool
    steps: tuple[str, ...]


def open_database(*, create: bool = False, migrate: bool = False) -> Opened:
    """With `create` bring an empty database, with `migrate` also an older one, up to date.

    Raises ConfigurationProblem when the database does not answer, or is not up to date.
    """
    from django.core.management import call_command
    from django.db import DatabaseError, connection
    from django.db.migrations.executor import MigrationExecutor

    try:
        executor = MigrationExecutor(connection)
    except DatabaseError as error:
        # Drivers tell host, user and cause here, never a password.
        cause = " ".join(str(error).split())
        raise ConfigurationProblem("DATABASE_URL", f"the database cannot be used: {cause}.") from None
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    is_new = not executor.loader.applied_migrations
    if is_new and not create:
        raise ConfigurationProblem(
            "DATABASE_URL",
            "the database is empty. Correct the address, or set a new controller up with: "
            "jobrunner controller migrate",
        )
    if missing and not is_new and not migrate:
        raise ConfigurationProblem(
            "DATA",
            "the database is older than this program. Back it up, then run: jobrunner controller migrate",
        )
    if missing:
        with connection.cursor() as cursor:
            if connection.vendor == "postgresql":
                # A step over many rows may take longer than any call.
                cursor.execute("SET statement_timeout = 0")
        call_command("migrate", interactive=False, verbosity=0)
    return Opened(is_new, tuple(f"{step.app_label}.{step.name}" for step, _ in missing))


def serve(host: str, port: int) -> None:
    """Run the web server until it is told to stop."""
    import uvicorn
    from django.conf import settings
    from uvicorn.config import STARTUP_FAILURE

    config = uvicorn.Config(
        "jobrunner.controller.asgi:application",
        host=host,
        port=port,
        http="h11",
        ws="none",
        lifespan="on",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        log_level="warning",
        # Waiting polls would hold the shutdown up; their agents just ask again.
        timeout_graceful_shutdown=2,
    )
    _allow_many_open_files()
    listening = config.bind_socket()
    _drop_dead_peers(listening, after_s=settings.CONFIGURATION.patience_s)
    server = uvicorn.Server(config)
    try:
        server.run(sockets=[listening])
    except KeyboardInterrupt:
        pass  # Ctrl-C is how it is told to stop
    if not server.started:
        sys.exit(STARTUP_FAILURE)


def _allow_many_open_files() -> None:
    """As many as the system lets us: each viewer and each waiting agent is one; 1024 is the usual limit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    except (ValueError, OSError):
        pass  # macOS allows less than it says; the limit stays as it was


def _drop_dead_peers(listening: socket.socket, *, after_s: int) -> None:
    """Let the kernel end connections whose peer takes nothing for so long.

    A server that closes such a connection would keep it, with all that is not sent yet. Connections inherit
    this from the listening socket; only Linux has it.
    """
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, after_s * 1000)
