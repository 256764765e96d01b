"""The controller as an ASGI application. Importing it refuses an unsafe configuration (threats.md P17)."""

import asyncio
import os
from datetime import UTC, datetime
from typing import cast

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jobrunner.controller.settings")

import django
from django.conf import settings
from django.core.asgi import get_asgi_application

from jobrunner.controller import configuration
from jobrunner.controller.configuration import Configuration
from jobrunner.controller.edge import AGENT_PATHS, App, Edge, Receive, Scope, Send

configuration.check(settings.CONFIGURATION, settings.SECRET_KEY)
django.setup()

from jobrunner.controller.api.agent_app import AgentApp  # noqa: E402
from jobrunner.controller.feed.stream import Stream  # noqa: E402
from jobrunner.controller.feed.stream_app import STREAM_PATH, StreamApp, StreamTerms  # noqa: E402
from jobrunner.controller.jobs.leases import Terms  # noqa: E402


class Controller:
    """Sends agents to their API, viewers to the live stream, and everybody else to Django."""

    def __init__(self, agents: AgentApp, stream: StreamApp, pages: App) -> None:
        self._agents = agents
        self._stream = stream
        self._pages = pages

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http" and scope["path"].startswith(AGENT_PATHS):
            await self._agents(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == STREAM_PATH:
            await self._stream(scope, receive, send)
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
    pages = cast(App, get_asgi_application())
    return Edge(Controller(agents, stream, pages), https=chosen.mode == "production")


def _stream_terms(chosen: Configuration) -> StreamTerms:
    return StreamTerms(
        hosts=chosen.hosts,
        proxies=chosen.proxies,
        viewers=chosen.stream_viewers,
        viewers_of_one_address=chosen.stream_viewers_of_one_address,
        heartbeat_s=chosen.stream_heartbeat_s,
    )


application = build()
