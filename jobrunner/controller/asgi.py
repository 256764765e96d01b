"""The controller as an ASGI application. Importing it refuses an unsafe configuration (threats.md P17)."""

import asyncio
import os
from datetime import UTC, datetime
from typing import Final, cast

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jobrunner.controller.settings")

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.signals import request_finished
from django.db import connections

from jobrunner.controller import configuration
from jobrunner.controller.at_once import AtOnce
from jobrunner.controller.configuration import Configuration
from jobrunner.controller.edge import AGENT_PATHS, App, Edge, Receive, Scope, Send

configuration.check(settings.CONFIGURATION, settings.SECRET_KEY)
django.setup()

from jobrunner.controller.api.agent_app import AgentApp  # noqa: E402
from jobrunner.controller.feed.stream import Stream  # noqa: E402
from jobrunner.controller.feed.stream_app import STREAM_PATH, StreamApp, StreamTerms  # noqa: E402
from jobrunner.controller.jobs.leases import Terms  # noqa: E402

_CALLS: Final = "/api/"
# A call may wait for a git host; that must keep nobody from the pages.
_PAGES_AT_ONCE: Final = 16
_CALLS_AT_ONCE: Final = 16


class Controller:
    """Sends agents to their API, viewers to the live stream, and everybody else to Django.

    Django answers people's programs (`calls`) and browsers (`pages`), each in places of their own.
    """

    def __init__(self, agents: AgentApp, stream: StreamApp, *, calls: App, pages: App) -> None:
        self._agents = agents
        self._stream = stream
        self._calls = calls
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http" and scope["path"].startswith(AGENT_PATHS):
            await self._agents(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == STREAM_PATH:
            await self._stream(scope, receive, send)
        elif scope["type"] == "http" and scope["path"].startswith(_CALLS):
            await self._calls(scope, receive, send)
        elif scope["type"] == "http":
            await self._pages(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        watch = asyncio.create_task(self._agents.watch_other_processes())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        watch.cancel()
        await send({"type": "lifespan.shutdown.complete"})


def build() -> Edge:
    """The whole application, with the terms of the configuration."""
    chosen = settings.CONFIGURATION
    terms = Terms(lease_s=chosen.lease_s, retry_s=chosen.retry_s, started_at=datetime.now(UTC))
    agents = AgentApp(terms, long_poll_s=chosen.long_poll_s)
    stream = StreamApp(Stream(), _stream_terms(chosen))
    people = cast(App, get_asgi_application())
    calls = AtOnce(people, places=_CALLS_AT_ONCE)
    pages = AtOnce(people, places=_PAGES_AT_ONCE)
    controller = Controller(agents, stream, calls=calls, pages=pages)
    return Edge(controller, https=chosen.mode == "production")


def _stream_terms(chosen: Configuration) -> StreamTerms:
    return StreamTerms(
        hosts=chosen.hosts,
        proxies=chosen.proxies,
        viewers=chosen.stream_viewers,
        viewers_of_one_address=chosen.stream_viewers_of_one_address,
        heartbeat_s=chosen.stream_heartbeat_s,
    )


def _close_connections(**_: object) -> None:
    """Django answers each request in a thread of its own, which nothing ever uses again."""
    connections.close_all()


request_finished.connect(_close_connections)
application = build()
