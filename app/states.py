"""What a page needs of the run, and what to say, with the command that mends it, where that is missing."""

from typing import Any

import labels
import probed
import streamlit as st

import data
from dsl_probe.store import Run


def need_traces(run: Run) -> tuple[str, str]:
    """Key of the imported traces; ends the page if there are none."""
    key = data.key(run, "traces")
    if not key[1]:
        command = f"dsl-probe import SOURCE --out {run.path}"
        labels.trouble("No traces have been imported or collected yet.", command=command, kind="info")
        st.stop()
    if not len(data.trace_facts(key)):
        labels.trouble("No trace was accepted; rejected.parquet holds the rows and the reasons.", kind="warning")
        st.stop()
    return key


def need_motifs(run: Run) -> tuple[str, str]:
    """Key of the mined motifs; ends the page if there are none."""
    need_traces(run)
    key = data.key(run, "traces", "mine")
    if not key[1]:
        labels.trouble("The motifs have not been mined yet.", command=f"dsl-probe mine {run.path}", kind="info")
        st.stop()
    if not data.motifs(key).num_rows:
        command = f"dsl-probe mine {run.path} --min-traces 5 --min-problems 5 --force"
        labels.trouble(
            "No motif reached the least support. Mine again with lower limits:", command=command, kind="info"
        )
        st.stop()
    return key


def need_comparisons(run: Run) -> dict[str, dict[str, Any]]:
    """The finished comparisons; ends the page if there are none."""
    need_motifs(run)
    done = run.comparisons()
    if not done:
        no_comparison(run)
        st.stop()
    return done


def no_comparison(run: Run) -> None:
    """Say how to make a comparison, with two models of this run."""
    models = sorted(data.trace_facts(data.key(run, "traces"))["model"].dropna().unique())
    a, b = (models + models + ["NAME", "NAME"])[:2]
    quoted = [f"'model={labels.one_line(m, 80)}'".replace("''", "'") for m in (a, b)]
    command = f"dsl-probe compare {run.path} --a {quoted[0]} --b {quoted[1]}"
    labels.trouble(
        "No comparison has been made yet. Any two groups will do, for example:", command=command, kind="info"
    )


def need_results(run: Run, kind: str) -> list[str]:
    """Names of the finished jobs of `probe` or `effects`; says which were cut off; ends the page if there are none."""
    need_traces(run)
    for status in run.status():
        if status.stage.partition(".")[0] == kind and status.state == "cut off":
            labels.trouble(f"A job of {kind} was cut off.", f"{status.stage}: {status.detail}", kind="warning")
    done = probed.results(run, kind)
    if not done and kind == "probe":
        capture = f"dsl-probe capture {run.path} --model MODEL --layers 8 16 --at steps\n"
        captured = any(stage.startswith("capture.") for stage in run.stages())
        labels.trouble(
            "No probe has been fitted yet."
            + ("" if captured else " It reads states of the model, to be captured first:"),
            command=("" if captured else capture) + f"dsl-probe probe {run.path} --targets correct",
            kind="info",
        )
        st.stop()
    if not done:
        need_motifs(run)
        labels.trouble(
            "It has not been measured yet whether the model needs a motif.",
            "The model goes on from its own traces, with a motif taken away and with as usual a span in its place.",
            command=f"dsl-probe effects {run.path} --model MODEL",
            kind="info",
        )
        st.stop()
    return done


def choose_comparison(done: dict[str, Any], width: int = 420) -> str:
    """The box that chooses a comparison, shared by the pages and by the address."""
    return labels.pick("Comparison", list(done), "comparison", width=width)


def link_to_holders(label: str, mined: tuple[str, str], motif_id: str) -> None:
    """A link to the first trace that holds a motif, with the motif highlighted."""
    where = data.occurrences(mined, motif_id)
    own = where.loc[~where["echo"], "trace_row"]
    first = int(own.min()) if len(own) else None
    labels.link(label, "traces", icon=":material/article:", trace=first, motif=motif_id)


def warn_if_stale(run: Run, stage: str) -> None:
    """Say so if what a stage read has changed since."""
    for status in run.status():
        if status.stage == stage and status.state != "done":
            labels.trouble("This was made from an earlier state of the run.", status.detail, kind="warning")
