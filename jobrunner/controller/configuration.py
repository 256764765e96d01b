"""What the operator sets: environment variables with one prefix, read once into a frozen value.

Nothing here touches Django, so that a wrong setting is told in one sentence before Django starts.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from jobrunner.study.repository_url import parse_prefix

PREFIX: Final = "JOBRUNNER_CONTROLLER_"
# Known to operators and their tools by this name, so it has no prefix.
_DATABASE_URL: Final = "DATABASE_URL"
MODES: Final = ("production", "dev", "test")
_MIN_KEY_LENGTH: Final = 50
_LOOPBACK_HOSTS: Final = ("localhost", "127.0.0.1", "[::1]")
_MAX_CONTACT_NAME: Final = 100
_MAX_CONTACT_LINK: Final = 300
# An address and nothing after it: a link to it must not fill in a letter.
_MAIL_LINK: Final = re.compile(r"mailto:[A-Za-z0-9._+-]+@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+")
_WEB_LINK: Final = re.compile(r"https://[\x21-\x7e]+")


class ConfigurationProblem(Exception):
    """A setting that the controller will not start with; the text names the setting and says what to do."""

    def __init__(self, setting: str, message: str) -> None:
        self.setting = setting if setting == _DATABASE_URL else f"{PREFIX}{setting}"
        super().__init__(f"{self.setting}: {message}")


@dataclass(frozen=True, slots=True)
class Contact:
    """Whom the public can ask: plain text, and a link that begins with `mailto:` or `https://`."""

    name: str
    link: str


@dataclass(frozen=True, slots=True)
class Configuration:
    """The controller's settings.

    `data` holds the secret key, the git mirrors and, unless `database_url` names another place, the database;
    without it nothing is kept (type checks, in-process tests). `git_prefixes` are the repository addresses
    that may be asked for; those of reusable actions lie directly below `reusable_prefix`. `proxies` are the
    addresses of reverse proxies; what they say in X-Forwarded-For counts. A peer that takes nothing of its
    answer for `patience_s` is cut off. `contact` stands on the page about this site.
    Seconds are whole.
    """

    mode: str = "test"
    data: Path | None = None
    # It may hold a password, so it is not shown.
    database_url: str | None = field(default=None, repr=False)
    debug: bool = False
    secret_key_file: Path | None = None
    hosts: tuple[str, ...] = _LOOPBACK_HOSTS
    git_prefixes: tuple[str, ...] = ("https://github.com/opensafely",)
    reusable_prefix: str = "https://github.com/opensafely-actions"
    lease_s: int = 120
    retry_s: int = 15
    long_poll_s: int = 25
    git_deadline_s: int = 55
    proxies: tuple[str, ...] = ("127.0.0.1", "::1")
    stream_viewers: int = 2000
    stream_viewers_of_one_address: int = 50
    stream_heartbeat_s: int = 15
    patience_s: int = 30
    contact: Contact | None = None

    @property
    def database_file(self) -> Path | None:
        """Where the SQLite database is, unless a URL names another."""
        return None if self.data is None else self.data / "controller.sqlite3"

    @property
    def key_file(self) -> Path | None:
        """Where the secret key is."""
        if self.secret_key_file is not None:
            return self.secret_key_file
        return None if self.data is None else self.data / "secret-key"


def from_environment(environment: Mapping[str, str]) -> Configuration:
    """Read all settings; raises ConfigurationProblem for a value that cannot be meant."""
    mode = environment.get(PREFIX + "MODE", "production" if PREFIX + "DATA" in environment else "test")
    if mode not in MODES:
        raise ConfigurationProblem("MODE", f"must be one of {', '.join(MODES)}.")
    default = Configuration()
    default_hosts = () if mode == "production" else default.hosts
    return Configuration(
        mode=mode,
        data=_folder(environment, "DATA"),
        database_url=environment.get(_DATABASE_URL) or None,
        debug=_switch(environment, "DEBUG"),
        secret_key_file=_folder(environment, "SECRET_KEY_FILE"),
        hosts=_words(environment, "HOSTS", default_hosts),
        git_prefixes=_words(environment, "GIT_PREFIXES", default.git_prefixes),
        reusable_prefix=environment.get(PREFIX + "REUSABLE_PREFIX", default.reusable_prefix),
        lease_s=_number(environment, "LEASE_SECONDS", default.lease_s, lowest=60, highest=3600),
        retry_s=_number(environment, "RETRY_SECONDS", default.retry_s, lowest=0, highest=3600),
        long_poll_s=_number(environment, "LONG_POLL_SECONDS", default.long_poll_s, lowest=0, highest=25),
        git_deadline_s=_number(
            environment, "GIT_DEADLINE_SECONDS", default.git_deadline_s, lowest=1, highest=55
        ),
        proxies=_words(environment, "PROXIES", default.proxies),
        stream_viewers=_number(
            environment, "STREAM_VIEWERS", default.stream_viewers, lowest=0, highest=100_000
        ),
        stream_viewers_of_one_address=_number(
            environment,
            "STREAM_VIEWERS_OF_ONE_ADDRESS",
            default.stream_viewers_of_one_address,
            lowest=1,
            highest=100_000,
        ),
        stream_heartbeat_s=_number(
            environment, "STREAM_HEARTBEAT_SECONDS", default.stream_heartbeat_s, lowest=1, highest=60
        ),
        patience_s=_number(environment, "PATIENCE_SECONDS", default.patience_s, lowest=1, highest=300),
        contact=_contact(environment),
    )


def check(configuration: Configuration, secret_key: str) -> None:
    """Raise ConfigurationProblem for the first setting that is not safe to serve with (threats.md P17)."""
    check_values(configuration)
    check_key(configuration, secret_key)
    check_hosts(configuration)


def check_values(configuration: Configuration) -> None:
    """What every command needs; raises ConfigurationProblem."""
    if configuration.data is None:
        raise ConfigurationProblem("DATA", "name the folder that holds the controller's data.")
    for prefix in configuration.git_prefixes:
        _check_git_prefix("GIT_PREFIXES", prefix, configuration.mode)
    _check_git_prefix("REUSABLE_PREFIX", configuration.reusable_prefix, configuration.mode)
    if urlsplit(configuration.reusable_prefix).path in ("", "/"):
        raise ConfigurationProblem("REUSABLE_PREFIX", "name an owner too, such as https://github.com/owner.")
    if configuration.debug and configuration.mode == "production":
        raise ConfigurationProblem("DEBUG", "must be off in production; its error pages show secrets.")


def check_key(configuration: Configuration, secret_key: str) -> None:
    """The key that signs attempt tokens; raises ConfigurationProblem."""
    if configuration.mode == "production" and len(secret_key) < _MIN_KEY_LENGTH:
        raise ConfigurationProblem(
            "SECRET_KEY_FILE",
            f"holds fewer than {_MIN_KEY_LENGTH} characters; delete it and a new one is made.",
        )


def check_hosts(configuration: Configuration) -> None:
    """The names under which it is served, which no other command needs; raises ConfigurationProblem."""
    if configuration.mode != "production":
        return
    if not configuration.hosts or "*" in configuration.hosts:
        raise ConfigurationProblem(
            "HOSTS",
            "list the host names under which people reach this controller, such as jobs.example.org.",
        )


def _check_git_prefix(setting: str, prefix: str, mode: str) -> None:
    parts = urlsplit(prefix)
    if parts.scheme == "http" and mode == "production":
        raise ConfigurationProblem(setting, f"{prefix} is plain http; production takes https only.")
    is_https = parts.scheme == "https" and parts.hostname
    if not is_https and (parts.scheme != "http" or parts.hostname not in ("127.0.0.1", "localhost")):
        raise ConfigurationProblem(setting, f"{prefix} is neither https nor http on a loopback address.")
    try:
        parse_prefix(prefix, allow_loopback_http=mode != "production")
    except ValueError as error:
        raise ConfigurationProblem(setting, f"{error}") from error


def _contact(environment: Mapping[str, str]) -> Contact | None:
    name = environment.get(PREFIX + "CONTACT_NAME", "")
    link = environment.get(PREFIX + "CONTACT_LINK", "")
    if not name and not link:
        return None
    if not name.strip() or not name.isprintable() or len(name) > _MAX_CONTACT_NAME:
        raise ConfigurationProblem(
            "CONTACT_NAME",
            f"name who answers questions, in one line of at most {_MAX_CONTACT_NAME} characters.",
        )
    if not _is_contact_link(link):
        raise ConfigurationProblem(
            "CONTACT_LINK",
            "must be `mailto:` with one mail address, or an https address without a user name.",
        )
    return Contact(name.strip(), link)


def _is_contact_link(link: str) -> bool:
    if len(link) > _MAX_CONTACT_LINK:
        return False
    if _MAIL_LINK.fullmatch(link):
        return True
    if not _WEB_LINK.fullmatch(link):
        return False
    try:
        parts = urlsplit(link)
    except ValueError:
        return False
    return bool(parts.hostname) and "@" not in parts.netloc


def _words(environment: Mapping[str, str], name: str, default: tuple[str, ...]) -> tuple[str, ...]:
    text = environment.get(PREFIX + name)
    return default if text is None else tuple(text.replace(",", " ").split())


def _folder(environment: Mapping[str, str], name: str) -> Path | None:
    text = environment.get(PREFIX + name, "")
    return Path(text).expanduser().absolute() if text else None


def _switch(environment: Mapping[str, str], name: str) -> bool:
    text = environment.get(PREFIX + name, "no")
    if text not in ("yes", "no"):
        raise ConfigurationProblem(name, "must be `yes` or `no`.")
    return text == "yes"


def _number(environment: Mapping[str, str], name: str, default: int, *, lowest: int, highest: int) -> int:
    text = environment.get(PREFIX + name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit() or not lowest <= int(text) <= highest:
        raise ConfigurationProblem(name, f"must be a whole number from {lowest} to {highest}.")
    return int(text)
