"""What the app shows: the run, its pages, and what to do where there is none. Started by main.py.

Reads a run and changes nothing; loads no model.
"""

from argparse import Namespace
from pathlib import Path

import labels
import streamlit as st
from options import given

from dsl_probe.store import Run, find_runs
from dsl_probe.types import UserError

PAGES = [
    st.Page(
        "app_pages/overview.py",
        title="Overview",
        icon=":material/home:",
        default=True,
        help="What was collected, which stages have run, and every comparison with its headline.",
    ),
    st.Page(
        "app_pages/claims.py",
        title="Claims",
        icon=":material/gavel:",
        help="What the design claims, the test of each, and what this run says to it.",
    ),
    st.Page(
        "app_pages/motifs.py",
        title="Motifs",
        icon=":material/format_quote:",
        help="All motifs: search, filter, and each one in its contexts.",
    ),
    st.Page(
        "app_pages/lexicon.py",
        title="Lexicon",
        icon=":material/dictionary:",
        help="The motifs that describe the traces best, who uses them, and their variants.",
    ),
    st.Page(
        "app_pages/language.py",
        title="Language",
        icon=":material/translate:",
        help="What a group writes as a language of its own: words its reference lacks, grammar, its proof, its moves.",
    ),
    st.Page(
        "app_pages/growth.py",
        title="Growth",
        icon=":material/trending_up:",
        help="What is born, grows and dies over the steps of a training run.",
    ),
    st.Page(
        "app_pages/traces.py",
        title="Traces",
        icon=":material/article:",
        help="Read the traces, one or two of a problem side by side, with motifs highlighted.",
    ),
    st.Page(
        "app_pages/compare.py",
        title="Compare",
        icon=":material/compare_arrows:",
        help="Which motifs one group over-uses, with the test behind each.",
    ),
    st.Page(
        "app_pages/sharing.py",
        title="Sharing",
        icon=":material/grid_on:",
        help="How far the domains of each group share a vocabulary.",
    ),
    st.Page(
        "app_pages/probes.py",
        title="Probes",
        icon=":material/troubleshoot:",
        help="What can be read out of the model's states, by layer, beside what tells it without them.",
    ),
    st.Page(
        "app_pages/effects.py",
        title="Effects",
        icon=":material/content_cut:",
        help="Which motifs the model needs: accuracy with a motif taken away, beside a placebo.",
    ),
    st.Page(
        "app_pages/validate.py",
        title="Validate",
        icon=":material/verified:",
        help="What the comparison would miss, and what it would invent, in these traces.",
    ),
]

# A picture of our own: for a named icon the browser would ask a font server.
ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" fill="#0072b2"/>'
    '<path d="M3 5h10M3 8h4M9 8h4M3 11h7" stroke="#fff" stroke-width="1.4"/><path d="M7 8h2" stroke="#f0c828"/></svg>'
)


def _choose(options: Namespace) -> Path | None:
    """The run to show; a name in the address is looked up among the runs on offer and never used as a path."""
    if options.run is not None:
        st.session_state["run_in_url"] = False
        asked = st.query_params.get("run")
        if asked not in (None, options.run.name):
            labels.trouble(
                "This app was started for one run; the address asks for another.",
                f"shown: {options.run.name}\nasked: {asked}",
                kind="warning",
            )
        with st.sidebar:
            st.caption("Run")
            st.text(labels.one_line(options.run.name, 40))
        return options.run
    every, root = find_runs(options.runs), options.runs.resolve()
    found = {path.name: path for path in every if root in path.resolve().parents}
    if len(found) < len(every):
        with st.sidebar:
            st.caption(f"{len(every) - len(found)} behind links out of this folder are not offered; open one by --run.")
    if not found:
        return None
    st.session_state["run_in_url"] = True
    labels.asked("run", found, "run")
    with st.sidebar:
        name = st.selectbox(
            "Run",
            list(found),
            key="run",
            bind="query-params",
        )
    return found.get(name or "")


def _welcome(options: Namespace) -> None:
    st.title("dsl-probe")
    st.markdown("Does a reasoning model have a private language? This app shows what `dsl-probe` found in its traces.")
    st.info("There is no run yet. Make one from the traces that ship with the repository; it takes some minutes:")
    st.code("make demo", language="bash")
    st.markdown("Or from your own traces, one JSON object a line with at least a `text`:")
    st.code(
        "dsl-probe import traces.jsonl --out runs/mine\ndsl-probe mine runs/mine\n"
        "dsl-probe compare runs/mine --a model=NAME --b model=NAME",
        language="bash",
    )
    st.text(f"Looked in: {options.runs}")


st.set_page_config(page_title="dsl-probe", page_icon=ICON, layout="wide")
page = st.navigation(PAGES)
options = given()
path = _choose(options)
if path is None:
    _welcome(options)
    st.stop()
try:
    Run(path)
except UserError as error:
    labels.trouble("This run cannot be opened.", str(error))
    st.stop()
st.session_state["run_path"], st.session_state["run_name"] = str(path), path.name
try:
    page.run()
except UserError as error:
    labels.trouble("Something of this run cannot be read.", str(error))
