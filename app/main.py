"""The browser of a run: streamlit run app/main.py -- --run runs/demo

Plain `streamlit run app/main.py` offers the runs under ./runs (--runs ROOT for another folder). This file starts the
server; what is shown is in browse.py.
"""

import asyncio
import ctypes
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import streamlit as st
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

# The browser itself refuses what would leave this machine, whatever a trace may have smuggled onto a page. Vega makes
# functions of its expressions, and Streamlit styles in place: hence the two unsafe words.
POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:; "
    "object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'self'"
)
_HEADERS = [(b"content-security-policy", POLICY.encode()), (b"referrer-policy", b"no-referrer")]


class Guarded:
    """Adds the headers to every answer."""

    def __init__(self, app: ASGIApp):
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = dict(message) | {"headers": [*message.get("headers", []), *_HEADERS]}
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)


def load() -> None:
    """Import what every page needs, or the first visitor waits for it; keep little of the memory that is given back.

    Each thread of the server would keep an arena of its own, and Arrow's pool what tables had taken.
    """
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    with suppress(OSError, AttributeError):  # glibc alone has it
        ctypes.CDLL(None).mallopt(-8, 2)  # M_ARENA_MAX

    import altair
    import pandas
    import pyarrow.compute
    import pyarrow.dataset
    import pyarrow.parquet  # noqa: F401
    from altair.utils import schemapi

    schemapi.DEBUG_MODE = False  # the tests check charts against the schema; it takes a third of their time
    altair.Chart(pandas.DataFrame({"x": [0]})).mark_point().encode(x="x").to_dict()


def read_ahead() -> None:
    """Read what the first page shows of the run that was named, while the browser is on its way."""
    from options import given

    import data
    from dsl_probe.store import Run

    path = given().run
    with suppress(Exception):  # whatever is wrong with the run, its page says it better
        if path is not None:
            data.overview(Run(path))


@asynccontextmanager
async def _started(app: st.App) -> AsyncGenerator[None]:
    await asyncio.to_thread(load)
    reading = asyncio.create_task(asyncio.to_thread(read_ahead))
    yield
    await reading


app = st.App(Path(__file__).with_name("browse.py"), lifespan=_started, middleware=[Middleware(Guarded)])

if __name__ == "__main__":
    app.run()
