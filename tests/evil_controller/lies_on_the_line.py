"""Lies below the messages: what comes is no answer at all, or comes in a way that the agent does not take."""

import gzip
import json
from collections.abc import Callable
from typing import Any, Final

from jobrunner.sync.messages import MAX_REPLY_BYTES
from tests.evil_controller import replies
from tests.evil_controller.certificates import context_of, server_context
from tests.evil_controller.honest import poll_answer
from tests.evil_controller.lie import About, Lie, Play, said
from tests.evil_controller.server import Line, Reply, Request, http_answer
from tests.evil_controller.setting import Setting


def _line(name: str, tells: str, make: Callable[[bytes], Reply], line: str) -> Lie:
    """A poll answered with what is made of the body of a good answer with a good offer."""

    def play(setting: Setting) -> Reply:
        return make(json.dumps(poll_answer(setting.fields())).encode())

    return Lie(f"line-{name}", tells, said(play), "", "", f"^poll controller_unanswered .*({line})", "log")


def _answer(**options: Any) -> Callable[[bytes], Reply]:
    return lambda good: replies.answer(good, **options)


def _raw(change: Callable[[bytes], bytes]) -> Callable[[bytes], Reply]:
    return lambda good: replies.raw(change(good))


def _two(body: bytes) -> bytes:
    """A whole empty answer, and at once another one that nobody asked for."""
    return http_answer(200, json.dumps(poll_answer()).encode()) + http_answer(200, body)


def _both(setting: Setting) -> Reply:
    return replies.raw(_two(json.dumps(poll_answer(setting.fields())).encode()))


def _with_cookie(_setting: Setting) -> Reply:
    return replies.answer(poll_answer(), headers={"Set-Cookie": "watched=1; Path=/"})


def _drip(good: bytes) -> Reply:
    whole = http_answer(200, good)
    return replies.drip(whole, every_s=0.05, at_once=len(whole) - len(good) + 2)


def _away(status: int, *, elsewhere: str = "/evil") -> Callable[[bytes], Reply]:
    return _answer(status=status, headers={"Location": elsewhere})


_NO_ANSWER: Final = "ConnectionResetError|RemoteDisconnected|IncompleteRead|an answer that is cut"
_LENGTH: Final = "two values of Content-Length"

LINES: Final[tuple[Lie, ...]] = (
    _line(
        "html",
        "a page with status 200",
        lambda _: replies.answer(b"<html>sign in</html>", kind="text/html"),
        "status 200 and no JSON",
    ),
    _line(
        "json-as-html",
        "a good answer that is called a page",
        _answer(kind="text/html"),
        "status 200 and no JSON",
    ),
    _line("no-type", "a good answer without a type", _answer(kind=""), "status 200 and no JSON"),
    _line(
        "502",
        "a page with status 502",
        lambda _: replies.answer(b"<html>", status=502, kind="text/html"),
        "status 502 and no JSON",
    ),
    _line("201", "a good answer with status 201", _answer(status=201), "status 201 and an unknown body"),
    _line("302", "a redirect", _away(302), r"a redirect \(status 302\)"),
    _line("307", "a redirect of the whole call", _away(307), r"a redirect \(status 307\)"),
    _line(
        "gzip",
        "a good answer, packed",
        lambda good: replies.answer(gzip.compress(good), headers={"Content-Encoding": "gzip"}),
        "a compressed answer",
    ),
    _line(
        "huge",
        "a good answer and 512 KiB of spaces",
        lambda good: replies.answer(good + b" " * MAX_REPLY_BYTES),
        "an answer that is too long",
    ),
    _line(
        "huge-head",
        "a header of 100,000 bytes",
        _answer(headers={"X": "x" * 100_000}),
        "LineTooLong|" + _NO_ANSWER,
    ),
    _line("cut", "a good answer cut in its body", _raw(lambda good: http_answer(200, good)[:-9]), _NO_ANSWER),
    _line(
        "cut-head",
        "a head without an end",
        _raw(lambda good: http_answer(200, good)[:30]),
        "an answer without a length",
    ),
    _line("nothing", "the connection closed without a word", _raw(lambda _: b""), _NO_ANSWER),
    _line(
        "no-http",
        "bytes that are no HTTP",
        _raw(lambda _: b"SSH-2.0-OpenSSH\r\n\r\n"),
        _NO_ANSWER + "|BadStatusLine",
    ),
    _line(
        "two-lengths",
        "two lengths of one body",
        _raw(
            lambda good: http_answer(200, good).replace(
                b"Content-Length:", b"Content-Length: 2\r\nContent-Length:"
            )
        ),
        _LENGTH,
    ),
    _line("slow", "a body that drips", _drip, "too slow"),
    _line("hang", "no answer at all", lambda _: replies.hang(), "too slow"),
    Lie("line-two", "two answers to one call, the second with a good offer", said(_both), "", "", "", "log"),
    Lie("line-cookie", "an empty answer that sets a cookie", said(_with_cookie), "", "", "", "log"),
)


# --- where https is demanded ---


def _over_tls(change: Callable[[Setting], None]) -> Play:
    """The controller hangs up, and speaks otherwise with whoever comes next."""

    def play(setting: Setting) -> About:
        def hang_up(line: Line, request: Request) -> bool:
            del line, request
            change(setting)
            return False

        setting.controller.play("poll", hang_up)
        return None

    return play


def _plain_http(setting: Setting) -> None:
    setting.controller.speak(None)


def _old_tls(setting: Setting) -> None:
    setting.controller.speak(context_of(setting.folder.parent / "ca", old=True))


def _other_certificate(setting: Setting) -> None:
    setting.controller.speak(server_context(setting.folder / "other"))


def _redirect_to_http(setting: Setting) -> Reply:
    port = setting.controller.port
    return replies.answer(b"", status=307, headers={"Location": f"http://127.0.0.1:{port}/api/v1/agent/poll"})


_TLS: Final = "SSLError|SSL"

OVER_TLS: Final[tuple[Lie, ...]] = (
    Lie(
        "tls-redirect", "a redirect from https to http", said(_redirect_to_http), "", "", "a redirect", "log"
    ),
    Lie("tls-none", "http where https is demanded", _over_tls(_plain_http), "", "", _TLS, "log"),
    Lie("tls-old", "TLS 1.1", _over_tls(_old_tls), "", "", _TLS, "log"),
    Lie(
        "tls-other", "a certificate of another authority", _over_tls(_other_certificate), "", "", _TLS, "log"
    ),
)
