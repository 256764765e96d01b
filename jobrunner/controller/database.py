"""Which database the controller keeps its rows in: SQLite in the data folder, or what DATABASE_URL names.

Both are used alike: the few threads that serve agents and the live stream keep their connections, a call of
Django has one for as long as it lasts (`asgi`), and one transaction changes what one call changes.
"""

from pathlib import Path
from typing import Any, Final

import dj_database_url

from jobrunner.controller.configuration import Configuration, ConfigurationProblem

_SETTING: Final = "DATABASE_URL"
_FORMS: Final = "sqlite:////absolute/path or postgresql://user:password@host/name"
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")
# What a URL may set beyond who, where and which. `options` could switch our deadlines off.
_ALLOWED_OPTIONS: Final = frozenset({"host", "sslmode", "sslrootcert", "sslcert", "sslkey"})
_VERIFYING: Final = ("verify-ca", "verify-full")

_SQLITE_OPTIONS: Final = {
    # A transaction that reads first and then writes would fail under load if it began as a reader.
    "transaction_mode": "IMMEDIATE",
    "timeout": 10,
    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL;",
}
_POSTGRESQL_OPTIONS: Final = {
    "application_name": "jobrunner-controller",
    # A server that accepts and never answers must not hold a thread for good (threats.md P21).
    "connect_timeout": 10,
    "tcp_user_timeout": 30_000,
    "options": " ".join(
        (
            "-c lock_timeout=10s",
            "-c statement_timeout=30s",
            "-c idle_in_transaction_session_timeout=60s",
        )
    ),
}


def settings_of(configuration: Configuration) -> dict[str, Any]:
    """The database as Django wants it; without a URL and without a data folder one that keeps nothing.

    Raises ConfigurationProblem for a URL that cannot be used. Its text never holds the URL, which may hold a
    password.
    """
    if configuration.database_url is None:
        return _sqlite(configuration.database_file or ":memory:")
    scheme = configuration.database_url.partition(":")[0]
    if scheme not in ("sqlite", "postgresql", "postgres"):
        raise ConfigurationProblem(_SETTING, f"names a database that is not supported. Write {_FORMS}.")
    try:
        parsed: dict[str, Any] = dict(dj_database_url.parse(configuration.database_url))
    except ValueError:
        # The chain would carry the URL into a log.
        raise ConfigurationProblem(_SETTING, f"cannot be read. Write {_FORMS}.") from None
    if scheme == "sqlite":
        return _sqlite_at(parsed)
    return _postgresql(parsed, configuration.mode)


def _sqlite_at(parsed: dict[str, Any]) -> dict[str, Any]:
    path = Path(parsed["NAME"])
    if not path.is_absolute():
        raise ConfigurationProblem(_SETTING, "names no absolute path. Write sqlite:////absolute/path.")
    return _sqlite(path)


def _sqlite(name: Path | str) -> dict[str, Any]:
    return {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": name,
        # For the threads that stay: opening a connection costs more than most calls of agents.
        "CONN_MAX_AGE": None,
        "OPTIONS": dict(_SQLITE_OPTIONS),
    }


def _postgresql(parsed: dict[str, Any], mode: str) -> dict[str, Any]:
    given = dict(parsed.get("OPTIONS", {}))
    unknown = sorted(given.keys() - _ALLOWED_OPTIONS)
    if unknown:
        raise ConfigurationProblem(_SETTING, f"may not set {', '.join(unknown)}.")
    host = given.pop("host", "") or parsed["HOST"]
    if not host:
        raise ConfigurationProblem(_SETTING, "names no host. For a socket write ?host=/run/postgresql.")
    if not parsed["NAME"]:
        raise ConfigurationProblem(_SETTING, "names no database. Write its name after the host.")
    is_near = host.startswith("/") or host in _LOOPBACK
    if mode == "production" and not is_near and given.get("sslmode") not in _VERIFYING:
        raise ConfigurationProblem(
            _SETTING, "reaches a server over the network; production needs ?sslmode=verify-full."
        )
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parsed["NAME"],
        "USER": parsed["USER"],
        "PASSWORD": parsed["PASSWORD"],
        "HOST": host,
        "PORT": parsed["PORT"],
        "CONN_MAX_AGE": None,
        # A restart of the server breaks the connections of all threads; each finds out before it is used.
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {**_POSTGRESQL_OPTIONS, **given},
    }
