"""The app under 20 browser sessions at once: errors, time of each interaction, memory and processor time of the server.

    python experiments/reliability/crowd.py RUN [--sessions 20] [--minutes 4] [--out experiments/reliability/CROWD.md]

One headless Chromium with a context a session. Each walks through the same pages in an order and with words of its own
(seeded) and thinks 3 to 8 s before each step. The browsers take more of the processor than the server: so each part is
also done by as many sessions without a browser, over the app's websocket (`sockets.py`), and by one browser session
alone. Each on a new server.
"""

import argparse
import asyncio
import importlib.util
import os
import platform
import random
import shutil
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import sockets

from dsl_probe.store import Run

ROOT = Path(__file__).resolve().parents[2]
LIMIT = 2.0  # seconds wanted at most, of 95 in 100 interactions


def speed():
    """experiments/app/speed.py: how an interaction is timed, and how the app is started."""
    spec = importlib.util.spec_from_file_location("app_speed", ROOT / "experiments" / "app" / "speed.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


lent = speed()


@dataclass
class Seen:
    """Of all sessions: interaction -> seconds; what went wrong; of the server the highest memory in GB."""

    times: dict[str, list[float]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    memory: float = 0.0


def asked_for(run: Run) -> tuple[list[str], list[str], int]:
    """Words to search for, motifs to open, and the number of traces."""
    words = [w for w in run.frame("vocabulary", ["text"])["text"].tolist() if w.isalpha()][:2_000]
    return words, lent.examples(run, 50), run.counts(run.trace_stage())["traces"]


class Session:
    """A page, its random numbers, and what it may ask for."""

    def __init__(self, number: int, page, address: str, run: Run, seen: Seen):
        self.number, self.page, self.address, self.seen = number, page, address, seen
        self.pick = random.Random(number)
        self.words, self.motifs, self.traces = asked_for(run)
        page.on("pageerror", lambda error: self.fault(f"page error: {error}"))
        page.on("console", lambda said: self.fault(f"console: {said.text}") if said.type == "error" else None)
        page.on("requestfailed", lambda asked: self.fault(f"request failed: {asked.url} {asked.failure}"))

    def fault(self, what: str) -> None:
        """Note what went wrong, once the walk has begun and before it is ended."""
        if not self.page.is_closed():
            self.seen.faults.append(f"session {self.number}: {' '.join(what.split())[:300]}")

    async def enter(self) -> None:
        """The first page, from the address to when it is drawn."""
        begun = time.perf_counter()
        await self.page.goto(self.address, timeout=120_000)
        await self.page.evaluate(lent._WATCH)
        await self.page.wait_for_selector("[data-testid=stMain] h1", timeout=120_000)
        await self.page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=120_000)
        self.seen.times.setdefault("first page", []).append(time.perf_counter() - begun)

    async def timed(self, name: str, act: Awaitable) -> None:
        """An action, from its first click or key to when its run has been drawn."""
        runs, start = await self.page.evaluate("() => { watched.input = 0; return [watched.runs, performance.now()] }")
        await act
        done = await self.page.wait_for_function(lent._DONE, arg=[runs, start, 250], timeout=120_000, polling=100)
        start = await self.page.evaluate("() => watched.input") or start
        self.seen.times.setdefault(name, []).append((await done.json_value() - start) / 1000)
        for box in await self.page.query_selector_all("[data-testid=stException]"):
            self.fault(f"{name}: {await box.inner_text()}")

    async def visit(self, title: str) -> None:
        """Follow a link of the sidebar."""
        link = self.page.get_by_test_id("stSidebarNav").get_by_role("link", name=title, exact=True)
        await self.timed(f"page {title}", link.click(timeout=120_000))

    async def text(self, label: str, value: str, name: str) -> None:
        """Type into a box, and time from the Enter key."""
        box = self.page.get_by_label(label, exact=True).first
        await box.fill(value, timeout=120_000)
        await self.timed(name, box.press("Enter"))

    async def walk(self, end: float) -> None:
        """Round after round of steps, until `end`."""
        await self.enter()
        while time.monotonic() < end:
            for step in self.steps():
                await asyncio.sleep(self.pick.uniform(*sockets.THINK))
                if time.monotonic() >= end:
                    return
                try:
                    await step()
                except Exception as error:  # whatever a browser raises is a fault of the walk
                    self.fault(f"{type(error).__name__}: {error}")
                    return

    def steps(self) -> list[Callable[[], Awaitable]]:
        """One round: pages in an order of its own, and what is done on each."""
        on_motifs = [
            lambda: self.visit("Motifs"),
            lambda: self.text("Search", self.pick.choice(self.words)[:5], "search the motifs"),
            lambda: self.text("Motif, by id or exact text", self.pick.choice(self.motifs), "open a motif"),
        ]
        on_traces = [
            lambda: self.visit("Traces"),
            lambda: self.text("Trace", str(self.pick.randrange(self.traces)), "open a trace"),
            lambda: self.text("Holds motif (id or exact text)", self.pick.choice(self.motifs), "traces with a motif"),
        ]
        on_compare = [
            lambda: self.visit("Compare"),
            lambda: self.text("Search", self.pick.choice(self.words)[:4], "compare: search"),
        ]
        parts = [on_motifs, on_traces, on_compare, [lambda: self.visit("Sharing")], [lambda: self.visit("Overview")]]
        self.pick.shuffle(parts)
        return [step for part in parts for step in part]


@dataclass(frozen=True)
class Measured:
    """What the sessions saw; processor seconds of the server and of the browser, seconds of the clock, load."""

    seen: Seen
    server: float
    browser: float
    wall: float
    load: float

    @property
    def interactions(self) -> int:
        """How many there were, first pages among them."""
        return sum(map(len, self.seen.times.values()))

    def every(self) -> list[float]:
        """Seconds of all interactions but the first pages."""
        return [t for name, of in self.seen.times.items() if name != "first page" for t in of]


async def _crowd(address: str, run: Run, sessions: int, seconds: float, pid: int) -> Measured:
    from playwright.async_api import async_playwright

    shots = lent.shots()
    path = shutil.which("chromium") or "/usr/bin/chromium"
    seen = Seen()
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=shots.CHROMIUM_ARGS)
        made = []
        for number in range(sessions):
            context = await browser.new_context(viewport={"width": 1280, "height": 900})
            made.append(Session(number, await context.new_page(), address, run, seen))
        below = _descendants(os.getpid()) - {pid}
        before, begun = (lent.spent(pid), _spent(below)), time.perf_counter()
        looking = asyncio.create_task(_look(seen, pid))
        end = time.monotonic() + seconds
        # They come in over the first tenth of the time, not in the same instant.
        walks = [_late(session, k * seconds / 10 / sessions, end) for k, session in enumerate(made)]
        await asyncio.gather(*walks)
        looking.cancel()
        wall = time.perf_counter() - begun
        below |= _descendants(os.getpid()) - {pid}
        found = Measured(seen, lent.spent(pid) - before[0], _spent(below) - before[1], wall, os.getloadavg()[0])
        for session in made:
            await session.page.close()
        await browser.close()
    return found


async def _late(session: Session, wait: float, end: float) -> None:
    await asyncio.sleep(wait)
    await session.walk(end)


async def _without_browser(address: str, run: Run, sessions: int, seconds: float, pid: int) -> Measured:
    words, motifs, traces = asked_for(run)

    def steps(pick: random.Random) -> list[sockets.Step]:
        on_motifs = [
            ("page Motifs", "motifs", {}),
            ("search the motifs", "motifs", {"q": pick.choice(words)[:5]}),
            ("open a motif", "motifs", {"motif": pick.choice(motifs)}),
        ]
        on_traces = [
            ("page Traces", "traces", {}),
            ("open a trace", "traces", {"trace": str(pick.randrange(traces))}),
            ("traces with a motif", "traces", {"motif": pick.choice(motifs)}),
        ]
        # What is searched for among the compared does not stand in the address.
        parts = [on_motifs, on_traces, [("page Compare", "compare", {})], [("page Sharing", "sharing", {})]]
        parts.append([("page Overview", "", {})])
        pick.shuffle(parts)
        return [step for part in parts for step in part]

    seen = Seen()
    before, begun = lent.spent(pid), time.perf_counter()
    looking = asyncio.create_task(_look(seen, pid))
    seen.times, seen.faults = await sockets.drive(address, steps, sessions, seconds)
    looking.cancel()
    wall = time.perf_counter() - begun
    return Measured(seen, lent.spent(pid) - before, float("nan"), wall, os.getloadavg()[0])


async def _look(seen: Seen, pid: int) -> None:
    while True:
        seen.memory = max(seen.memory, lent.memory(pid))
        await asyncio.sleep(2)


def _descendants(pid: int) -> set[int]:
    found = set()
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, path.read_text().split()):
            found |= {child} | _descendants(child)
    return found


def _spent(pids: set[int]) -> float:
    total = 0.0
    for pid in pids:
        try:
            total += lent.spent(pid)
        except OSError:  # it has ended; what it used is lost
            continue
    return total


def measure(way: Callable[..., Coroutine[Any, Any, Measured]], path: Path, sessions: int, seconds: float) -> Measured:
    """A new server and so many sessions."""
    with lent.shots().serving("--run", str(path.resolve())) as address:
        return asyncio.run(way(address, Run(path), sessions, seconds, lent.server_pid()))


def report(path: Path, sessions: int, found: dict[str, Measured]) -> str:
    """CROWD.md: a column a way."""
    counts = Run(path).counts("mine")
    facts = ", ".join(f"{counts[name]:,} {name}" for name in ("traces", "units", "motifs", "occurrences"))
    cores = os.cpu_count() or 1
    loads = ", ".join(f"{m.load:.0f} with {name}" for name, m in found.items())
    lines = [
        f"# {sessions} sessions at once: results",
        "",
        f"Written by `experiments/reliability/crowd.py` on {platform.machine()}, {cores} cores. Run: {facts}. Load of "
        f"the machine at the end: {loads}. Browser, server and whatever else runs share the cores: seconds of the "
        "clock hold the wait for one, processor seconds do not.",
        "",
        "| | " + " | ".join(found) + " |",
        "|---|" + "---:|" * len(found),
    ]

    def row(what: str, cell: Callable[[Measured], str]) -> None:
        lines.append(
            f"| {what} | " + " | ".join(cell(m).replace("nan%", "").replace("nan", "") for m in found.values()) + " |"
        )

    row("minutes", lambda m: f"{m.wall / 60:.1f}")
    row("interactions, first pages among them", lambda m: f"{m.interactions:,}")
    row("errors", lambda m: f"{len(m.seen.faults)}")
    row("seconds of an interaction, median", lambda m: f"{np.median(m.every()):.2f}")
    row(f"seconds of an interaction, 95 % (wanted: {LIMIT})", lambda m: f"{np.quantile(m.every(), 0.95):.2f}")
    row("server: processor seconds an interaction", lambda m: f"{m.server / m.interactions:.3f}")
    row("browser: processor seconds an interaction", lambda m: f"{m.browser / m.interactions:.3f}")
    row("server: share of one core", lambda m: f"{m.server / m.wall:.0%}")
    row("browser: share of one core", lambda m: f"{m.browser / m.wall:.0%}")
    row("server: memory, highest, GB", lambda m: f"{m.seen.memory:.2f}")
    lines += [
        "",
        "Errors: exception boxes, page and console errors, failed requests, steps that failed. The interactions, "
        "seconds of the clock, median and 95 %:",
        "",
        "| | " + " | ".join(found) + " |",
        "|---|" + "---:|" * len(found),
    ]
    for name in sorted({name for m in found.values() for name in m.seen.times}):
        cells = []
        for m in found.values():
            of = m.seen.times.get(name)
            cells.append(f"{np.median(of):.2f}, {np.quantile(of, 0.95):.2f} (n {len(of)})" if of else "")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    faults = [fault for m in found.values() for fault in m.seen.faults]
    if faults:
        lines += ["", "Errors:", "", *(f"- `{fault}`" for fault in dict.fromkeys(faults))]
    return "\n".join(lines) + "\n"


def main() -> None:
    """The crowd, one session, the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--sessions", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    seconds = 60 * options.minutes
    ways = {
        f"{options.sessions} browsers": (_crowd, options.sessions, seconds),
        f"{options.sessions} sessions without a browser": (_without_browser, options.sessions, seconds),
        "one browser": (_crowd, 1, seconds / 2),
    }
    found = {name: measure(way, options.run, count, wait) for name, (way, count, wait) in ways.items()}
    said = report(options.run, options.sessions, found)
    print(said)
    if options.out:
        options.out.write_text(said, "utf-8")


if __name__ == "__main__":
    main()
