"""Hostile words on every page of the app, in a real browser that refuses to leave this machine and counts who tries."""

import csv
import importlib
import importlib.util
import io
import re
import sys
from pathlib import Path
from urllib.parse import quote, urlencode, urlsplit

import hostile
import made_hostile
import pandas as pd
import pytest
from streamlit.testing.v1 import AppTest

from dsl_probe.store import Run

ROOT = Path(__file__).resolve().parents[1]
# Inline code: a fence of backticks, up to one of the same length.
CODE = re.compile(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)")
LOCAL = {"127.0.0.1", "localhost"}
PAGES = (
    *("overview", "claims", "motifs", "lexicon", "language", "growth", "traces", "sharing", "compare", "probes"),
    *("effects", "validate"),
)


def load(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem + "_of_app", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def evil(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return made_hostile.fill(tmp_path_factory.mktemp("evil"))


@pytest.fixture
def labels(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "app"))
    return importlib.import_module("labels")


def test_the_set_of_hostile_strings_is_large():
    assert len(set(hostile.EVERY)) == len(hostile.EVERY) >= 40
    assert len(hostile.LINE) == 1_000_000 and "\n" not in hostile.LINE


def test_a_lone_surrogate_is_refused_with_its_reason(evil: Run):
    rejected = evil.frame("rejected")
    assert rejected["reason"].tolist() == ["unpaired surrogate in text: it is not valid Unicode text"] * 2


def steady(page) -> str:
    """The words of a page, those chosen in its boxes too, once they no longer change: a page may be run again right
    after it was drawn."""
    before = None
    for _ in range(40):
        now = page.locator("[data-testid=stMain]").inner_text()
        if now == before:
            break
        before = now
        page.wait_for_timeout(500)
        page.wait_for_selector("[data-testid=stApp][data-test-script-state=notRunning]", timeout=60_000)
    chosen = page.eval_on_selector_all("[data-testid=stMain] input", "all => all.map(i => i.value)")
    return "\n".join([before or "", *chosen])


@pytest.mark.browser
def test_hostile_words_are_shown_and_never_act(evil: Run, labels):
    shots = load(ROOT / "app" / "shots.py")
    texts = evil.traces(["text"])["text"]
    whole = int(texts.index[texts == made_hostile.ALL_AT_ONCE][0])
    line = int(texts.index[texts == hostile.LINE][0])
    motif = evil.table("motifs", ["motif_id"])["motif_id"][0].as_py()
    views = [
        *("", "claims?comparison=x", "lexicon", "growth", "sharing", "compare?matched=raw", "probes", "validate"),
        f"motifs?motif={motif}",
        "motifs?" + urlencode({"q": "<script>", "formats": "true", "motif": hostile.SCRIPT}),
        f"traces?trace={line}",
        f"traces?trace={whole}",
        "traces?" + urlencode({"motif": hostile.SCRIPT, "group": hostile.HANDLERS[0], "domain": hostile.LINKS[0]}),
        "effects?" + urlencode({"taken": hostile.SHAPES[0]}),
        "language",
    ]
    errors, dialogs, outside, said = [], [], [], []

    def gate(route, request):
        address = urlsplit(request.url)
        if address.scheme in ("data", "blob") or address.hostname in LOCAL:
            route.continue_()
        else:
            outside.append(request.url)
            route.abort()

    with shots.serving("--run", str(evil.path)) as address, shots.chromium() as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.route("**/*", gate)
        page = context.new_page()
        page.on(
            "console",
            lambda m: errors.append(m.text) if m.type == "error" and "/_stcore/" not in m.location["url"] else None,
        )
        page.on("pageerror", lambda e: errors.append(str(e)))
        page.on("dialog", lambda d: (dialogs.append(d.message), d.dismiss()))
        context.on("page", lambda p: outside.append(f"a window was opened: {p.url}") if p != page else None)
        for view in views:
            page.goto(f"{address}/{view}")
            shots.settle(page, 0.4)
            assert urlsplit(page.url).hostname in LOCAL
            assert page.locator("[data-testid=stException]").count() == 0, view
            said.append(steady(page))
            links = page.eval_on_selector_all("a[href]", "all => all.map(a => a.href)")
            assert all(urlsplit(link).hostname in LOCAL for link in links), (view, links)
            assert (
                page.locator(":is(iframe, form[action], base, object, embed, video, meta[http-equiv=refresh])").count()
                == 0
            )
            handlers = "all => all.flatMap(e => [...e.attributes]).filter(a => a.name.startsWith('on')).length"
            assert page.eval_on_selector_all("[data-testid=stMain] *", handlers) == 0
            wide, room = page.eval_on_selector("[data-testid=stMain]", "e => [e.scrollWidth, e.clientWidth]")
            assert wide <= room, view
            if view == f"traces?trace={line}":
                assert page.locator(".text").evaluate("e => e.textContent") == hostile.LINE
            if view == f"traces?trace={whole}":
                shown = page.locator(".text").evaluate("e => e.textContent")
                assert shown == labels.visible(made_hostile.ALL_AT_ONCE)
                page.get_by_text("Prompt", exact=True).click()
                page.wait_for_timeout(500)
                assert "alert(17)" in page.locator("[data-testid=stExpander]").inner_text()
        page.get_by_text("Translate a trace").click()
        shots.settle(page, 2)
        assert page.locator("[data-testid=stException]").count() == 0
        page.set_viewport_size({"width": 390, "height": 900})
        page.wait_for_timeout(500)
        wide, room = page.eval_on_selector("[data-testid=stMain]", "e => [e.scrollWidth, e.clientWidth]")
        assert wide <= room
        assert errors == [] and not outside
        asked = "u => fetch(u, {mode: 'no-cors'}).then(() => 'went out', e => e.name)"
        said_of_self, said_of_others = (page.evaluate(asked, u) for u in (address, "http://127.0.0.2:9/x"))
        assert (said_of_self, said_of_others) == ("went out", "TypeError")
        assert not outside and any("Content Security Policy" in error for error in errors)
        context.close()
    assert not dialogs
    for word in (hostile.SCRIPT, hostile.LINKS[0], hostile.HANDLERS[0]):
        assert any(word in text for text in said), word


@pytest.mark.parametrize("page", PAGES)
def test_no_page_puts_hostile_words_into_markdown(monkeypatch: pytest.MonkeyPatch, evil: Run, page: str):
    monkeypatch.setattr(sys, "argv", ["app/main.py", "--run", str(evil.path)])
    at = AppTest.from_file(str(ROOT / "app" / "browse.py"), default_timeout=60).run()
    if page != "overview":
        at.switch_page(f"app_pages/{page}.py").run()
    assert not at.exception
    for kind in (at.markdown, at.caption, at.info, at.warning, at.error, at.title, at.subheader):
        for element in kind:
            outside = CODE.sub("", element.value)
            assert not re.findall(r"<script|onload|evil\.example|\]\(java|alert\(", outside)
            assert not any(mark in element.value for mark in "\x00\x07\x1b\u202e\u2066\u2067")


# ---- downloads


def test_no_downloaded_cell_is_a_formula(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(ROOT / "app"))
    downloads = importlib.import_module("downloads")
    words = [*hostile.EVERY, "\n=1+1", "-2", "+1.5e3", "＝1"]
    frame = pd.DataFrame({"text": words, hostile.FORMULAS[0]: words, "n": range(len(words))}).astype(
        {"text": "category"}
    )
    header, *cells = list(csv.reader(io.StringIO(downloads.csv(frame).decode(), newline="")))
    assert header == ["text", "'" + hostile.FORMULAS[0], "n"]
    assert [int(row[2]) for row in cells] == list(range(len(words)))
    for word, (first, second, _) in zip(words, cells, strict=True):
        assert first == second and first.removeprefix("'") == word.removeprefix("'")
        numeric = re.fullmatch(r"[+-]?[0-9.e]+", first)
        assert numeric or first.lstrip()[:1] not in {"=", "+", "-", "@", "＝"}


# ---- addresses

OUTSIDE = (
    *("../secret", "..", "/etc", "/", "~", "./inside/../../secret", "inside/", "..\\secret", "inside\x00", "link"),
    *("file:///etc", "%2e%2e%2fsecret", "..%2fsecret", "\ufe52\ufe52/secret", "", " inside", "INSIDE", "secret"),
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with one run, and beside it a secret one that a link in the root leads to."""
    for path in (tmp_path / "runs" / "inside", tmp_path / "secret"):
        Run.create(path)
    (tmp_path / "runs" / "link").symlink_to(tmp_path / "secret", target_is_directory=True)
    return tmp_path / "runs"


@pytest.mark.parametrize("asked", [*OUTSIDE, *(quote(word, safe="") for word in OUTSIDE[:3])])
def test_no_address_leaves_the_root(monkeypatch: pytest.MonkeyPatch, root: Path, asked: str):
    monkeypatch.setattr(sys, "argv", ["app/main.py", "--runs", str(root)])
    at = AppTest.from_file(str(ROOT / "app" / "browse.py"), default_timeout=30)
    at.query_params["run"] = asked
    at.run()
    assert not at.exception
    assert at.selectbox(key="run").options == ["inside"]
    assert at.session_state["run_path"] == str(root / "inside")
    assert "asks for a run that is not here" in "\n".join(w.value for w in at.warning)


def test_the_path_of_a_run_is_no_address(monkeypatch: pytest.MonkeyPatch, root: Path):
    monkeypatch.setattr(sys, "argv", ["app/main.py", "--run", str(root / "inside")])
    at = AppTest.from_file(str(ROOT / "app" / "browse.py"), default_timeout=30)
    at.query_params["run"] = str(root.parent / "secret")
    at.run()
    assert at.session_state["run_path"] == str(root / "inside")
    assert "the address asks for another" in "\n".join(w.value for w in at.warning)
