"""Every page in a real browser: its charts can be kept, it fits a telephone; and the way from a verdict to a trace."""

import re
import shutil
from pathlib import Path
from urllib.parse import urlsplit

import made_probes
import pytest
from made_growth import write_growth

from dsl_probe import LanguageConfig, learn_language
from dsl_probe.share.validate import validate
from dsl_probe.store import Run

# Page with its tabs, and the charts that it draws on a run that has everything.
VIEWS = {
    "": 0,
    "claims": 0,
    "motifs?motif=zorp&motif_tab=Rate by model and domain": 1,
    "motifs?motif=zorp&motif_tab=Where it stands": 1,
    "motifs?motif=zorp&motif_tab=What it carries": 2,
    "motifs?motif=zorp&motif_tab=Over training": 1,
    "lexicon": 0,
    "language?graph=true": 1,
    "language?beside_language=model-a": 0,
    "growth": 2,
    "traces?trace=2&beside=model-a": 0,
    "compare?compare_tab=Matched and unmatched": 2,
    "compare?compare_tab=Legibility": 3,
    "compare?compare_tab=Accuracy against tokens&curve_of_traces=true": 2,
    "sharing?sharing_tab=Rarefaction": 3,
    "sharing?sharing_tab=What makes the overlap": 2,
    "probes": 6,
    "effects": 1,
    "validate": 1,
}
CHARTS = "[data-testid=stVegaLiteChart], [data-testid=stEChartsChart]"
BUTTONS = """all => all.map(chart => {
  const around = "[data-testid=stFullScreenFrame]"
  const frame = chart.closest(around) || chart.querySelector(around)
  const buttons = frame ? [...frame.querySelectorAll("[data-testid=stElementToolbar] button")] : []
  return [chart.dataset.testid, ...buttons.map(button => (button.getAttribute("aria-label") || "").split(":")[0])]
})"""


@pytest.fixture(scope="module")
def full(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that has something for every page."""
    run = Run(shutil.copytree(tiny_run, tmp_path_factory.mktemp("full") / "run"))
    made_probes.fill(run)
    zorp = run.frame("motifs", ["motif_id"], [("text", "=", "zorp")])["motif_id"][0]
    write_growth(run, zorp, "zorp")
    learn_language(run, LanguageConfig(group="model=model-a", reference="model=model-b", name="model-a"))
    validate(run, group="model=model-a", splits=2, spikes=("nonce",), motifs=1, permutations=99, name="of-a")
    return run


def wait_for(page, title: str, shots) -> None:
    """The page with this title, once it is still."""
    page.wait_for_function("title => document.querySelector('h1')?.innerText === title", arg=title)
    shots.settle(page)


def back_to(page, title: str, shots) -> None:
    """Streamlit leaves several entries in the history for one move; go back until the page is another."""
    for _ in range(6):
        page.go_back()
        shots.settle(page)
        if page.locator("h1").inner_text() == title:
            return
    raise AssertionError(f"no way back to {title}: {page.url}")


@pytest.mark.browser
def test_charts_can_be_kept_and_pages_fit_a_telephone(full: Run, shots):
    errors = []
    with shots.serving("--run", str(full.path)) as address, shots.chromium() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.on("pageerror", lambda e: errors.append(str(e)))
        for view, charts in VIEWS.items():
            page.set_viewport_size({"width": 1280, "height": 900})
            page.goto(f"{address}/{view}")
            shots.settle(page, 0.4)
            assert page.locator("[data-testid=stException], [data-testid=stAlert]").count() == 0, view
            kept = page.eval_on_selector_all(CHARTS, BUTTONS)
            assert len(kept) == charts, (view, kept)
            for kind, *buttons in kept:
                if kind == "stEChartsChart":
                    assert "Download as SVG" in buttons
                    assert page.get_by_role("button", name="Download CSV").count() >= 1
                else:
                    assert {"Show data", "Download as PNG"} <= set(buttons), (view, kept)
            page.set_viewport_size({"width": 390, "height": 900})
            page.wait_for_timeout(300)
            wide, room = page.eval_on_selector("[data-testid=stMain]", "e => [e.scrollWidth, e.clientWidth]")
            assert wide <= room, view
        page.close()
    assert errors == []


@pytest.mark.browser
def test_from_a_verdict_to_its_trace_and_back_and_an_open_tab_by_its_address(full: Run, shots):
    with shots.serving("--run", str(full.path)) as address, shots.chromium() as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        page = context.new_page()
        page.goto(address)
        shots.settle(page)
        assert "claims are undecided" in page.locator("[data-testid=stMain]").inner_text()
        page.get_by_role("link", name="Claims", exact=True).last.click()
        wait_for(page, "Claims", shots)
        page.get_by_text(re.compile("^Evidence, ")).first.click()
        assert page.locator("[data-testid=stExpander] [data-testid=stDataFrame]").first.is_visible()
        page.get_by_role("link", name="The motifs of this comparison").click()
        wait_for(page, "Compare", shots)
        page.locator("[data-testid=stDataFrame] .dvn-scroller").first.click(position={"x": 18, "y": 52})
        page.get_by_role("link", name=re.compile("Motif zorp")).click()
        wait_for(page, "Motifs", shots)
        motif, address_of_motif = page.locator("h3 code").inner_text(), page.url
        page.locator(".line").first.click()
        wait_for(page, "Traces", shots)
        trace, read = page.url, page.locator(".text").inner_text()
        assert page.locator(".text .now").inner_text() == motif
        first = page.locator(".line")
        back_to(page, "Motifs", shots)
        assert page.locator("h3 code").inner_text() == motif and first.count() > 1
        for link, selector, said in ((trace, ".text", read), (address_of_motif, "h3 code", motif)):
            other = context.new_page()
            other.goto(link)
            shots.settle(other)
            assert urlsplit(other.url).path == urlsplit(link).path
            assert other.locator(selector).first.inner_text() == said
            other.close()
        back_to(page, "Compare", shots)
        assert "model=model-b" in page.locator("[data-testid=stMain]").inner_text()

        # An open tab stands in the address, and on another page leaves no complaint behind.
        page.get_by_role("tab", name="Legibility").click()
        page.wait_for_url("**compare_tab=Legibility**")
        shots.settle(page)
        other = context.new_page()
        other.goto(page.url)
        shots.settle(other)
        for one in (page, other):
            assert one.locator("[role=tab][aria-selected=true]").inner_text() == "Legibility"
            assert one.get_by_label("Measure of legibility").count() == 1
        page.get_by_test_id("stSidebarNav").get_by_role("link", name="Sharing").click()
        wait_for(page, "Sharing between domains", shots)
        assert page.locator("[data-testid=stAlert]").count() == 0
