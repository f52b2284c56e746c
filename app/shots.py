"""Pictures of every page: python app/shots.py OUT_DIR RUN [RUN ...]

Starts the app on 127.0.0.1, drives Debian's Chromium and writes pictures 1280 wide, a few dark and a few 390 wide. Each
is of the first run that has the tables for it.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

if TYPE_CHECKING:
    from dsl_probe.store import Run

MAIN = Path(__file__).resolve().parent / "main.py"
# Pixels; the rest of a longer page is left out.
TALLEST = 2_000
CHROMIUM_ARGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
    "--no-pings",
]


@contextmanager
def serving(*arguments: str, wait: float = 40) -> Generator[str]:
    """The app on a free port of this machine; yields its address and ends it afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [
        *(sys.executable, "-m", "streamlit", "run", str(MAIN), "--server.headless=true", f"--server.port={port}"),
        *("--server.address=127.0.0.1", "--browser.gatherUsageStats=false", "--server.fileWatcherType=none"),
        *("--", *arguments),
    ]
    server = subprocess.Popen(command, cwd=MAIN.parents[1], env=os.environ | {"PYTHONUNBUFFERED": "1"})
    address = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + wait
        while True:
            try:
                with urllib.request.urlopen(f"{address}/_stcore/health", timeout=1):
                    break
            except OSError as error:
                if server.poll() is not None or time.monotonic() > end:
                    raise RuntimeError("the app did not start; see the log above") from error
                time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


@contextmanager
def chromium() -> Generator:
    """A headless browser."""
    from playwright.sync_api import sync_playwright

    path = shutil.which("chromium") or "/usr/bin/chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=CHROMIUM_ARGS)
        try:
            yield browser
        finally:
            browser.close()


def settle(page, pause: float = 1.0) -> None:
    """Wait until the script has run and the charts are drawn."""
    page.wait_for_selector("[data-testid=stMain] h1", timeout=60_000)
    page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=60_000)
    page.wait_for_selector("[data-testid=stSkeleton]", state="detached", timeout=60_000)
    page.wait_for_timeout(int(1000 * pause))


@dataclass(frozen=True)
class View:
    """A picture: page of the app, what the address asks for, and the size of the window.

    height: None is all of the page. top: selector of what stands at the top of the picture; "" is the title.
    """

    name: str
    page: str
    query: dict[str, str]
    width: int = 1280
    height: int | None = 900
    dark: bool = False
    top: str = ""


def views(run: "Run") -> list[View]:
    """The pictures that a run has the tables for."""
    made: list[View] = [View("overview", "", {}, height=1300)]
    first: dict[str, str] = {}
    counts = {id: run.counts(f"compare.{id}") for id in run.comparisons()}
    if counts:
        first = {"comparison": max(counts, key=lambda i: counts[i]["discoveries_a"])}
        wide = [i for i, c in counts.items() if c["sharing_difference"]]
        strongest, row = example(run, first["comparison"])
        held = {"motif": strongest} if strongest else {}
        made += [
            View("claims", "claims", first, height=None),
            View("motifs", "motifs", first | {"only": "over-represented in A"}),
            View("motif", "motifs", held, top="h3"),
            View("motif-rates", "motifs", held | {"motif_tab": "Rate by model and domain"}, height=1100, top="h3"),
            View("trace", "traces", first | row, height=1300),
            View("trace-dark", "traces", held | row, height=1300, dark=True),
            View("compare", "compare", first, height=1300),
            View("compare-dark", "compare", first, dark=True),
            View("legibility", "compare", first | {"compare_tab": "Legibility"}, top="[role=tablist]"),
            View("sharing", "sharing", {"comparison": wide[0]} if wide else first, height=None),
            View("overview-390", "", {}, 390),
            View("motif-390", "motifs", held, 390, top="h3"),
        ]
        if row:
            other = beside(run, int(row["trace"]))
            made += [View("traces", "traces", row | {"beside": other}, height=1300)] if other else []
    if run.has("lexicon.parquet") and counts:
        # The motifs of one model, since those of all may be in a script that this machine has no letters for.
        named = {k: run.comparisons()[first["comparison"]][g] for k, g in (("used", "a"), ("against", "b"))}
        only = {k: group.removeprefix("model=") for k, group in named.items() if "," not in group}
        made.append(View("lexicon", "lexicon", only, height=None))
    languages = list(run.languages())
    grammars = [id for id in languages if run.has(f"languages/{id}/grammar.json")]
    if grammars:
        made.append(View("language", "language", {"language": grammars[0], "graph": "true"}, height=None))
    if len(languages) > 1:
        made.append(View("languages", "language", dict(zip(("language", "beside_language"), languages, strict=False))))
    if run.has("growth.parquet"):
        events = run.frame("growth_events", ["run", "p_adj"])
        changed = events.loc[events["p_adj"] <= 0.05, "run"].value_counts()
        made += [View("growth", "growth", {"growth_run": str(changed.index[0])}, height=None)] if len(changed) else []
    kinds = {stage.partition(".")[0] for stage in run.stages()}
    pages = {"probe": "probes", "effects": "effects", "validate": "validate"}
    return made + [View(page, page, {}, height=None) for kind, page in pages.items() if kind in kinds]


def example(run: "Run", comparison: str) -> tuple[str | None, dict[str, str]]:
    """The strongest discovery of A that is made of words, and a trace of A that holds it."""
    from dsl_probe.groups import group_columns, select_rows

    config = run.comparisons()[comparison]
    equal = [("matched", "=", "equal units"), ("domain", "=", "all"), *((g, "=", config[g]) for g in "ab")]
    table = run.frame(f"comparisons/{comparison}/comparison", ["motif_id", "text", "z", "p_adj"], equal)
    known = run.table("motifs", ["motif_id"])["motif_id"].to_pylist()
    # Words of a person's language, not a slot or a mark alone: more to look at.
    told = table["motif_id"].isin(known) & (table["p_adj"] <= 0.05) & table["text"].str.contains(r"^[a-z ,]{5,}$")
    strongest = table[told & (table["z"] > 0)].sort_values("z").tail(1)["motif_id"].tolist()
    if not strongest:
        return None, {}
    own = select_rows(run.all_shards("traces", group_columns(config["a"])), config["a"])
    where = run.frame("occurrences", ["trace_row"], [("motif_id", "in", strongest)])["trace_row"]
    held = where[where.isin(own)].tolist()
    return strongest[0], {"trace": str(held[len(held) // 2])}


def beside(run: "Run", row: int) -> str | None:
    """Another model that answered the problem of a trace."""
    facts = run.traces(["model", "problem_id"])
    same = facts[facts["problem_id"] == facts["problem_id"][row]]["model"]
    return next((str(m) for m in same if m != facts["model"][row]), None)


def take(browser, address: str, view: View, file: Path) -> None:
    """One picture, in 256 colours."""
    from PIL import Image

    size = {"width": view.width, "height": view.height or 900}
    page = browser.new_page(viewport=size, color_scheme="dark" if view.dark else "light")
    page.goto(f"{address}/{view.page}?{urlencode(view.query)}")
    settle(page)
    if view.height is None:
        # The page scrolls inside its main block: grow the window for a picture of all of it.
        height = page.eval_on_selector("[data-testid=stMain]", "e => e.scrollHeight")
        page.set_viewport_size({"width": view.width, "height": min(max(int(height), 600), TALLEST)})
        settle(page)
    if view.top:
        page.locator(f"[data-testid=stMain] {view.top}").first.evaluate("e => e.scrollIntoView()")
        page.wait_for_timeout(1_000)
    page.screenshot(path=file)
    page.close()
    Image.open(file).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(file, optimize=True)


def main() -> None:
    """Write the pictures: each from the first run that has the tables for it."""
    from dsl_probe.store import Run

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--only", nargs="+", help="names of pictures")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    done: set[str] = set()
    for run in options.runs:
        wanted = [v for v in views(Run(run)) if v.name not in done and (not options.only or v.name in options.only)]
        done |= {view.name for view in wanted}
        if not wanted:
            continue
        with serving("--run", str(run.resolve())) as address, chromium() as browser:
            for view in wanted:
                file = options.out / f"{view.name}.png"
                take(browser, address, view, file)
                print(f"{file.stat().st_size:>8,} B  {file}")


if __name__ == "__main__":
    main()
