"""Sessions of the app without a browser: what a browser would send, over the app's own websocket.

    found = asyncio.run(drive(address, steps, seconds))

A session asks for a page with the state that its address holds, waits until the script has ended, thinks, and asks for
the next. What it gets is read, so that the server's errors are seen; nothing is drawn.
"""

import asyncio
import random
import time
from collections.abc import Callable
from urllib.parse import urlencode

THINK = (3.0, 8.0)
# A step: its name, the page, and what stands in the address.
Step = tuple[str, str, dict[str, str]]


async def drive(
    address: str, steps: Callable[[random.Random], list[Step]], sessions: int, seconds: float
) -> tuple[dict[str, list[float]], list[str]]:
    """Seconds of each interaction by its name, and the errors. steps(numbers): one round of a session's walk."""
    times: dict[str, list[float]] = {}
    faults: list[str] = []
    end = time.monotonic() + seconds

    async def one(number: int) -> None:
        await asyncio.sleep(number * seconds / 10 / sessions)
        try:
            await _walk(number, address, steps, end, times, faults)
        except Exception as error:  # whatever ends a connection is a fault of the server
            faults.append(f"session {number}: {type(error).__name__}: {error}")

    await asyncio.gather(*(one(number) for number in range(sessions)))
    return times, faults


async def _walk(number: int, address: str, steps, end: float, times: dict, faults: list) -> None:
    from websockets.asyncio.client import connect

    pick = random.Random(number)
    place = address.replace("http://", "ws://") + "/_stcore/stream"
    async with connect(place, subprotocols=["streamlit"], origin=address, max_size=None) as socket:  # type: ignore[list-item]
        await _ask(socket, "first page", "", {}, times, faults)
        while True:
            for name, page, state in steps(pick):
                await asyncio.sleep(pick.uniform(*THINK))
                if time.monotonic() >= end:
                    return
                await _ask(socket, name, page, state, times, faults)


async def _ask(socket, name: str, page: str, state: dict[str, str], times: dict, faults: list) -> None:
    from streamlit.proto.BackMsg_pb2 import BackMsg
    from streamlit.proto.ClientState_pb2 import ClientState
    from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

    asked = BackMsg(rerun_script=ClientState(query_string=urlencode(state), page_name=page))
    begun = time.perf_counter()
    await socket.send(asked.SerializeToString())
    drawn = 0
    while True:
        told = ForwardMsg.FromString(await asyncio.wait_for(socket.recv(), 120))
        kind = told.WhichOneof("type")
        if kind == "delta":
            drawn += 1
            if told.delta.new_element.HasField("exception"):
                faults.append(f"{name}: {told.delta.new_element.exception.message}")
        if kind == "script_finished":
            # A page that sends the browser elsewhere ends early, and its successor ends as well.
            if told.script_finished == ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                continue
            break
    if not drawn:
        faults.append(f"{name}: nothing was drawn")
    times.setdefault(name, []).append(time.perf_counter() - begun)
