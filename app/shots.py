"""Screenshots of every page: python app/shots.py RUN OUT_DIR

Starts the app on 127.0.0.1, drives Debian's Chromium and writes 1280 x 900 pictures, light and one dark.
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
from pathlib import Path
from urllib.parse import urlencode

MAIN = Path(__file__).resolve().parent / "main.py"
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
    page.wait_for_timeout(int(1000 * pause))


def views(run: Path, motif: str) -> dict[str, tuple[str, dict[str, str]]]:
    """Name of a picture -> page and query parameters."""
    from dsl_probe.store import Run

    made = Run(run)
    counts = {id: made.counts(f"compare.{id}") for id in made.comparisons()}
    chosen = {"comparison": max(counts, key=lambda i: counts[i]["discoveries_a"])} if counts else {}
    wide = [i for i, c in counts.items() if c["sharing_difference"]]
    return {
        "overview": ("", {}),
        "claims": ("claims", chosen),
        "motifs": ("motifs", {}),
        "motif": ("motifs", {"motif": motif, "q": motif}),
        "lexicon": ("lexicon", {}),
        "language": ("language", {}),
        "trace": ("traces", {"motif": motif}),
        "discoveries": ("traces", chosen | example(made, **chosen)),
        "compare": ("compare", chosen),
        "probes": ("probes", {}),
        "effects": ("effects", {}),
        "sharing": ("sharing", {"comparison": wide[0]} if wide else chosen),
    }


def example(run, comparison: str | None = None) -> dict[str, str]:
    """A trace of A that holds the strongest discovery of A."""
    from dsl_probe.groups import group_columns, select_rows

    if comparison is None:
        return {}
    columns, equal = ["motif_id", "z", "p_adj"], [("matched", "=", "equal units"), ("domain", "=", "all")]
    table = run.frame(f"comparisons/{comparison}/comparison", columns, equal)
    strongest = table[table["p_adj"] <= 0.05].sort_values("z").tail(1)["motif_id"].tolist()
    if not strongest:
        return {}
    group = run.comparisons()[comparison]["a"]
    own = select_rows(run.all_shards("traces", group_columns(group)), group)
    where = run.frame("occurrences", ["trace_row"], [("motif_id", "in", strongest)])["trace_row"]
    held = where[where.isin(own)]
    return {"trace": str(held.iloc[len(held) // 2])}


def main() -> None:
    """Write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--motif", default="wait")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with serving("--run", str(options.run.resolve())) as address, chromium() as browser:
        for scheme, names in (("light", None), ("dark", ("discoveries",))):
            page = browser.new_page(viewport={"width": 1280, "height": 900}, color_scheme=scheme)
            for name, (path, query) in views(options.run, options.motif).items():
                if names and name not in names:
                    continue
                page.goto(f"{address}/{path}?{urlencode(query)}")
                settle(page)
                file = options.out / (f"{name}.png" if scheme == "light" else f"{name}-{scheme}.png")
                page.screenshot(path=file)
                # The page scrolls inside its main block: grow the window for a picture of all of it.
                height = page.eval_on_selector("[data-testid=stMain]", "e => e.scrollHeight")
                if height > 900:
                    page.set_viewport_size({"width": 1280, "height": min(int(height) + 20, 4000)})
                    settle(page)
                    page.screenshot(path=file.with_stem(f"{file.stem}-full"))
                    page.set_viewport_size({"width": 1280, "height": 900})
            page.close()
    print(f"pictures in {options.out}")


if __name__ == "__main__":
    main()
