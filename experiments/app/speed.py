"""How fast the app answers on runs of the largest size, in a real browser, and the memory of its server.

    python experiments/app/speed.py RUN [RUN ...] [--rounds 12] [--out experiments/app/SPEED.md] [--at PAGE]

Runs are made by generate.py. For each run the app is started anew; time runs from the key or click to when the script
has ended and the browser has drawn what it sent, by the browser's own clock. Memory is the resident size of the
server's processes, the highest seen after any of the interactions.
"""

import argparse
import importlib.util
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dsl_probe.store import Run

ROOT = Path(__file__).resolve().parents[2]
STARTS = 7
LIMITS = {"first": 2.0, "median": 0.5, "p95": 1.0, "memory": 1.5}

# Counts runs of the script and notes when the last one ended and was drawn. A run so short that the browser never shows
# it as running is known by what it changed on the page.
_WATCH = """() => {
  if (window.watched) return
  window.watched = { runs: 0, ended: 0, changed: 0, input: 0 }
  // What the driver does before it clicks (scrolling, waiting for the place to stand still) is no time of the app.
  const asked = (event) => { if (!window.watched.input) window.watched.input = event.timeStamp }
  for (const kind of ["click", "keydown"]) document.addEventListener(kind, asked, true)
  const look = () => {
    const app = document.querySelector("[data-testid=stApp]")
    if (!app) { requestAnimationFrame(look); return }
    const note = () => {
      if (app.dataset.testScriptState === "notRunning") requestAnimationFrame(() => setTimeout(() => {
        window.watched.ended = performance.now()
      }))
      else { window.watched.runs += 1; window.watched.ended = 0 }
    }
    new MutationObserver(note).observe(app, { attributes: true, attributeFilter: ["data-test-script-state"] })
    const change = () => { window.watched.changed = performance.now() }
    new MutationObserver(change).observe(app, { childList: true, characterData: true, subtree: true })
  }
  look()
}"""
_DONE = """([runs, start, quiet]) => {
  const now = performance.now()
  if (watched.runs > runs) return watched.ended && now - watched.ended > quiet && watched.ended
  return watched.changed > start && now - start > 3000 && now - watched.changed > quiet && watched.changed
}"""


def shots():
    """The app's own helpers that start it and a browser."""
    spec = importlib.util.spec_from_file_location("app_shots", ROOT / "app" / "shots.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def memory(pid: int) -> float:
    """Resident GB of a process and all below it."""
    said = subprocess.run(["ps", "-eo", "pid=,ppid=,rss="], capture_output=True, text=True, check=True).stdout
    rows = [[int(x) for x in line.split()] for line in said.splitlines()]
    wanted, total = {pid}, 0
    for own, parent, size in sorted(rows):
        if own in wanted or parent in wanted:
            wanted.add(own)
            total += size
    return total * 1024 / 1e9


def spent(pid: int) -> float:
    """Seconds of processor time that a process has taken."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def server_pid() -> int:
    """The app's server among the processes that this one started."""
    said = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in said.splitlines()]
    return next(int(pid) for pid, parent, args in rows if int(parent) == os.getpid() and "streamlit" in args)


@dataclass(frozen=True)
class Measured:
    """Seconds, and seconds of the server's processor, to the first page and of each interaction; highest memory in GB;
    load of the machine before and after.
    """

    first: list[tuple[float, float]]
    times: dict[str, list[float]]
    work: dict[str, list[float]]
    peak: float
    load: tuple[float, float]


class Watched:
    """A page of the browser, and the times of what was done there: name -> seconds."""

    def __init__(self, page, address: str, pid: int):
        self.page, self.address, self.pid = page, address, pid
        self.times: dict[str, list[float]] = {}
        self.work: dict[str, list[float]] = {}
        self.peak = 0.0

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Time an action, from its first click or key to when its run has been drawn."""
        before = spent(self.pid)
        runs, start = self.page.evaluate("() => { watched.input = 0; return [watched.runs, performance.now()] }")
        yield
        ended = self.page.wait_for_function(_DONE, arg=[runs, start, 250], timeout=60_000, polling=50).json_value()
        start = self.page.evaluate("() => watched.input") or start
        self.times.setdefault(name, []).append((ended - start) / 1000)
        self.work.setdefault(name, []).append(spent(self.pid) - before)
        self.peak = max(self.peak, memory(self.pid))

    def go(self, path: str) -> None:
        """Open a page by its address."""
        self.page.goto(f"{self.address}/{path}")
        self.page.evaluate(_WATCH)
        self.page.wait_for_selector("[data-testid=stMain] h1", timeout=90_000)
        self.page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=90_000)
        self.page.wait_for_timeout(700)

    def text(self, label: str, value: str, name: str) -> None:
        """Type into a box, and time from the Enter key."""
        box = self.page.get_by_label(label, exact=True)
        box.fill(value)
        with self.timed(name):
            box.press("Enter")

    def choose(self, label: str, option: str, name: str) -> None:
        """Take an option of a box."""
        self.page.get_by_role("combobox", name=label).first.click()
        with self.timed(name):
            self.page.get_by_role("option", name=option, exact=True).click()

    def visit(self, title: str, name: str) -> None:
        """Follow a link of the sidebar."""
        with self.timed(name):
            self.page.get_by_test_id("stSidebarNav").get_by_role("link", name=title).click()


def examples(run: Run, n: int) -> list[str]:
    """Motifs from the most to the least frequent."""
    table = run.frame("motifs", ["motif_id", "count"]).sort_values("count", ascending=False, ignore_index=True)
    return table["motif_id"].iloc[np.geomspace(1, len(table), n).astype(int) - 1].tolist()


def on_motifs(w: Watched, run: Run, n: int) -> None:
    """Search, regular expression, filters, pages, sorting, and single motifs."""
    words = run.frame("vocabulary", ["text"])["text"].tolist()
    w.go("motifs")
    for k in range(n):
        w.text("Search", words[37 * k][:5], "search the motifs")
    w.page.get_by_text("regular expression", exact=True).click()
    w.page.wait_for_timeout(2500)
    for k in range(n):
        w.text("Search", rf"^{words[11 * k][:3]}.*\b{words[k][:2]}[aeiou]", "search by regular expression")
    w.go("motifs")
    models = sorted(set(run.frame("counts", ["model"])["model"]))
    for k in range(n):
        if k % len(models) == 0 and k:
            w.go("motifs")
        w.choose("Models or training runs", models[k % len(models)], "filter by model")
        w.page.keyboard.press("Escape")
    w.go("motifs")
    for k in range(n):
        w.choose("Sort by", ["support", "text", "rate per 1,000 units", "length"][k % 4].replace(
            "support", "traces"), "sort the motifs")  # fmt: skip
    w.go("motifs")
    for _ in range(n):
        with w.timed("next page of motifs"):
            w.page.get_by_role("button", name="Next").last.click()
    w.go("motifs")
    for one in examples(run, n):
        w.text("Motif, by id or exact text", one, "open a motif")


def on_traces(w: Watched, run: Run, n: int) -> None:
    """Single traces, the next one, and those that hold a motif."""
    total = run.counts("import")["traces"]
    w.go("traces")
    for k in range(n):
        w.text("Trace", str((k * 7919 + 13) % total), "open a trace")
    for _ in range(n):
        with w.timed("next trace"):
            w.page.get_by_role("button", name="Next").first.click()
    for one in examples(run, n):
        w.text("Holds motif (id or exact text)", one, "traces that hold a motif")
    w.text("Holds motif (id or exact text)", examples(run, n)[n // 2], "traces that hold a motif")
    for _ in range(n):
        with w.timed("next trace that holds it"):
            w.page.get_by_role("button", name="Next").first.click()


def on_compare(w: Watched, run: Run, n: int) -> None:
    """Families of tests, search, and from page to page."""
    words = run.frame("vocabulary", ["text"])["text"].tolist()
    w.go("compare")
    domains = sorted(set(run.frame("counts", ["domain"])["domain"]))
    for k in range(n):
        w.choose("Domain", domains[k % len(domains)], "compare: another domain")
    w.go("compare")
    for k in range(n):
        with w.timed("compare: other text compared"):
            w.page.get_by_role("radio", name=["raw", "equal accuracy", "equal units"][k % 3], exact=True).click()
    for k in range(n):
        with w.timed("compare: all tested, or only discoveries"):
            w.page.get_by_role("radio", name=["all tested", "discoveries"][k % 2], exact=True).click()
    for k in range(n):
        w.text("Search", words[37 * k][:5], "compare: search")


def on_pages(w: Watched, run: Run, n: int) -> None:
    """From page to page by the sidebar."""
    w.go("")
    for _ in range(n):
        for title in ("Motifs", "Lexicon", "Traces", "Compare", "Sharing", "Overview"):
            w.visit(title, f"page {title}")
    w.go("sharing")
    for k in range(n):
        w.choose("Measure", ["jensen_shannon", "chao_jaccard", "morisita_horn"][k % 3], "sharing: another measure")


PARTS: dict[str, Callable[[Watched, Run, int], None]] = {
    "pages": on_pages,
    "motifs": on_motifs,
    "traces": on_traces,
    "compare": on_compare,
}


def measure(path: Path, n: int, parts: list[str]) -> Measured:
    """All figures of one run; the first page by several starts of server and browser."""
    lent, run, quiet = shots(), Run(path), os.getloadavg()[0]
    firsts = []
    for k in range(STARTS):
        with lent.serving("--run", str(path.resolve())) as address, lent.chromium() as browser:
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            pid = server_pid()
            begun, before = time.perf_counter(), spent(pid)
            page.goto(address)
            page.wait_for_selector("[data-testid=stMain] h3 >> text=Limits", timeout=90_000)
            page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=90_000)
            firsts.append((time.perf_counter() - begun, spent(pid) - before))
            if k < STARTS - 1:
                continue
            watched = Watched(page, address, pid)
            for part in parts:
                print(f"{path.name}: {part}", flush=True)
                PARTS[part](watched, run, n)
    return Measured(firsts, watched.times, watched.work, watched.peak, (quiet, os.getloadavg()[0]))


def report(found: dict[str, Measured], facts: dict[str, str], n: int) -> str:
    """SPEED.md."""
    names = list(found)
    loads = "; ".join(f"{name}: {found[name].load[0]:.1f} to {found[name].load[1]:.1f}" for name in names)
    lines = [
        "# Speed of the app",
        "",
        *(f"- {name}: {facts[name]}" for name in names),
        "",
        f"Made by `experiments/app/speed.py` on {platform.machine()}, {os.cpu_count()} cores. Each interaction {n} "
        "times at least, in headless Chromium at 1280 x 900: seconds from the key or click to when the script ended "
        "and the browser had drawn, and the seconds of processor time that the server took for it. Server and browser "
        "share the cores with whatever else runs: the load of the machine (before and after) was "
        f"{loads}; where it is above {os.cpu_count()}, the seconds hold the wait for a core too, and the processor "
        "time is the fairer figure. The runs are made up (`generate.py`); a corpus of longer traces has more to read.",
        "",
        f"Asked: first page at most {LIMITS['first']} s, each median at most {LIMITS['median']} s and 95th percentile "
        f"at most {LIMITS['p95']} s, memory at most {LIMITS['memory']} GB. What is over is in bold.",
        "",
        "| | " + " | ".join(f"{name}: median | 95 % | processor, median" for name in names) + " |",
        "|---|" + "---:|---:|---:|" * len(names),
    ]

    def cell(value: float, limit: float, unit: str = "") -> str:
        said = f"{value:.2f}{unit}"
        return f"**{said}**" if value > limit else said

    def row(what: str, cells: list[list[str]]) -> str:
        return f"| {what} | " + " | ".join(" | ".join(own) for own in cells) + " |"

    first = []
    for name in names:
        times, work = zip(*found[name].first, strict=True)
        first.append(
            [cell(float(np.median(times)), LIMITS["first"]), f"longest {max(times):.2f}", f"{np.median(work):.2f}"]
        )
    lines.append(row(f"first page after the server's start, {STARTS} starts", first))
    for what in found[names[0]].times:
        cells = []
        for name in names:
            times, work = (of.get(what, [float("nan")]) for of in (found[name].times, found[name].work))
            limits = (float(np.median(times)), LIMITS["median"]), (float(np.quantile(times, 0.95)), LIMITS["p95"])
            cells.append([*(cell(*pair) for pair in limits), f"{np.median(work):.2f}"])
        lines.append(row(what, cells))
    peaks = [[cell(found[name].peak, LIMITS["memory"], " GB"), "", ""] for name in names]
    return "\n".join([*lines, row("memory of the server, highest", peaks)]) + "\n"


def main() -> None:
    """Measure each run and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--at", choices=list(PARTS), nargs="+", default=list(PARTS), help="only these pages")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found, facts = {}, {}
    for path in options.runs:
        counts = Run(path).counts("mine")
        name = f"{counts['motifs']:,} motifs"
        facts[name] = ", ".join(f"{counts[c]:,} {c}" for c in ("traces", "units", "motifs", "occurrences"))
        found[name] = measure(path, options.rounds, options.at)
    said = report(found, facts, options.rounds)
    print(said)
    if options.out:
        options.out.write_text(said, "utf-8")


if __name__ == "__main__":
    main()
