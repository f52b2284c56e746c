"""The browser of a run: streamlit run app/main.py -- --run runs/demo

Plain `streamlit run app/main.py` offers the runs under ./runs (--runs ROOT for another folder). This file starts the
server; what is shown is in browse.py.
"""

import asyncio
import gc
import mimetypes
import socket
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The browser itself refuses what would leave this machine, whatever a trace may have smuggled onto a page. Vega makes
# functions of its expressions, and Streamlit styles in place: hence the two unsafe words.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
UNTIL_SHOWN = 1.0  # seconds in which the page of the first visitor has the cores for itself
_visited = asyncio.Event()
_HEADERS = [(b"content-security-policy", POLICY.encode()), (b"referrer-policy", b"no-referrer")]

# Streamlit's own scripts and fonts, a hundred for the first page, each under a name that changes with what is in it:
# by way of its threads each takes 4 ms of a core that the browser waits for.
_SHIPPED = Path(st.__file__).parent / "static"
_ASSETS = {f"/{path.relative_to(_SHIPPED).as_posix()}": path for path in _SHIPPED.glob("static/**/*.*")}
mimetypes.add_type("font/woff2", ".woff2")
_FOREVER = {"cache-control": "public, immutable, max-age=31536000"}


class Guarded:
    """Adds the headers to every answer; hands out the assets."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or pass it on."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = dict(message) | {"headers": [*message.get("headers", []), *_HEADERS]}
            await send(message)

        if scope["type"] != "http":
            if scope["type"] == "websocket":
                _visited.set()
            await self.app(scope, receive, send)
        elif scope["method"] == "GET" and (asset := _ASSETS.get(scope["path"])):
            kind, _ = mimetypes.guess_type(asset.name)
            await Response(asset.read_bytes(), headers=_FOREVER, media_type=kind)(scope, receive, with_headers)
        else:
            await self.app(scope, receive, with_headers)


def send_at_once() -> None:
    """Let no small message wait for the answer to the one before (Nagle's algorithm), 40 ms each.

    asyncio sees to that by itself, but not for a socket that was made without naming TCP, as Streamlit makes its own.
    """
    for one in gc.get_objects():
        if issubclass(type(one), socket.socket) and one.family in (socket.AF_INET, socket.AF_INET6):
            with suppress(OSError):  # a closed one
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


@asynccontextmanager
async def _started(app: st.App) -> AsyncGenerator[None]:
    import ahead

    send_at_once()
    await asyncio.to_thread(ahead.load)
    reading = asyncio.create_task(_read(ahead.first_page, ahead.other_pages))
    yield
    reading.cancel()
    with suppress(asyncio.CancelledError):
        await reading


async def _read(first: Callable[[], None], others: Callable[[], None]) -> None:
    await asyncio.to_thread(first)
    await _visited.wait()
    await asyncio.sleep(UNTIL_SHOWN)
    await asyncio.to_thread(others)


app = st.App(Path(__file__).with_name("browse.py"), lifespan=_started, middleware=[Middleware(Guarded)])

if __name__ == "__main__":
    app.run()
