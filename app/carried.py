"""What a motif carries: where it can be decoded, what can be decoded at it, and whether the model needs it."""

from collections.abc import Sequence

import labels
import pandas as pd
import probe_charts
import probed
import streamlit as st

from dsl_probe.mine.carried import Decodable, Needed
from dsl_probe.store import Run

NEXT = "used next"
number = st.column_config.NumberColumn


def show(run: Run, motif_id: str, text: str) -> None:
    """All that the run's probes and effects say of one motif."""
    known = probed.carried(probed.carried_key(run))
    decodable = known.decodable.get(motif_id, ())
    needed = known.needed.get(motif_id) or known.needed.get(text, ())
    if not decodable and not needed:
        st.caption("No probe was fitted at this motif, and it has not been measured whether the model needs it.")
        with st.container(horizontal=True):
            labels.link("Probes", "probes", icon=":material/troubleshoot:")
            labels.link("Effects", "effects", icon=":material/content_cut:")
        return
    left, right = st.columns(2)
    with left:
        st.markdown("**Where it is decodable**")
        _curves([d for d in decodable if d.target == NEXT], "decodable", "whether the motif comes next")
    with right:
        st.markdown("**What it predicts**")
        _curves([d for d in decodable if d.target != NEXT], "predicts", "what is read out of the states at the motif")
    st.markdown("**Is it load-bearing**")
    _needed(needed)


def _curves(found: Sequence[Decodable], key: str, what: str) -> None:
    if not found:
        st.caption("No probe was fitted for it.")
        return
    named = {d: f"{d.target} · {d.acts}" if key == "predicts" else d.acts for d in found}
    options = sorted(set(named.values()))
    chosen = options[0]
    if len(options) > 1:
        chosen = labels.pick("States", options, f"{key}_of", width="stretch")
    own = [d for d in found if named[d] == chosen]
    points = [
        {"domain": d.domain, "layer": layer, "value": value, "chosen": layer == d.layer, "control": d.control_auroc}
        for d in own
        for layer, value in d.layers
    ]
    if points:
        frame = pd.DataFrame(points).astype({"control": float})
        st.altair_chart(probe_charts.domains_by_layer(frame), alt="AUROC by layer in each domain")
    with st.container():
        st.caption(
            f"AUROC of {labels.code(chosen, 60)}: {what}. Dashed: the strongest control. Ring: the chosen layer."
        )
    rows = pd.DataFrame(
        {
            "domain": [labels.one_line(d.domain, 60) for d in own],
            "AUROC": [d.auroc for d in own],
            "95 %": ["—" if d.low is None or d.high is None else f"{d.low:.3f} – {d.high:.3f}" for d in own],
            "layer": [d.layer for d in own],
            "strongest control": [d.control or "—" for d in own],
            "its AUROC": [d.control_auroc for d in own],
        }
    ).astype({"its AUROC": float})
    three = dict.fromkeys(("AUROC", "its AUROC"), number(format="%.3f"))
    st.dataframe(rows, hide_index=True, key=f"{key}_table", column_config=three, alt="AUROC by domain")


def _needed(found: Sequence[Needed]) -> None:
    if not found:
        st.caption("Not tested: no effect of it was measured.")
        return
    rows = pd.DataFrame(
        {
            "domain": [labels.one_line(n.domain, 60) for n in found],
            "intervention": [n.intervention for n in found],
            "load-bearing": [n.bearing for n in found],
            "effect": [n.effect for n in found],
            "95 %": ["—" if n.low is None or n.high is None else f"{n.low:+.3f} to {n.high:+.3f}" for n in found],
            "p_adj": [n.p_adj for n in found],
            "model": [labels.one_line(n.model, 80) for n in found],
        }
    )
    st.dataframe(
        rows,
        hide_index=True,
        alt="Effects of the motif by domain",
        column_config={
            "effect": number(format="%+.3f", help="accuracy lost beyond the placebo"),
            "p_adj": number(format="%.4f"),
        },
    )
    st.caption("Effect: accuracy lost beyond that of its placebo. What that shows, and what not: page Effects.")
