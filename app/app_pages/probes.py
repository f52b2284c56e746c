"""Probes: what can be read out of the model's states, layer by layer, beside what tells it without them."""

import labels
import pandas as pd
import probe_charts
import probed
import states
import streamlit as st
import tokens

import data

MOST_TARGETS, MOST_COLOURS, CONTEXT = 40, 6, 60
LIMITS = (
    "AUROC is on problems that the probe has not seen: .5 is chance. A control that comes near says that the label "
    "can be told without this model's states. What a probe reads need not be used by the model: see the page Effects."
)
MAP = (
    "For browsing only: the map (UMAP) bends distances, so groups and gaps that are seen in it may not be in the "
    "states; the figures are of the states themselves. States at the same token are alike in any model."
)
number = st.column_config.NumberColumn


def every_target(frame: pd.DataFrame, summary: pd.DataFrame, title: dict[str, str]) -> None:
    """Layer x target, and a table with the strongest control beside each."""
    st.subheader("Every target")
    domains = sorted(set(summary["domain"]) - {probed.ALL})
    domain = labels.pick("Domain", [probed.ALL, *domains], "domain", width=220)
    tiles = probed.tiles(frame, domain)
    if tiles.empty:
        st.info("No target could be asked in this domain.")
        return
    first = list(dict.fromkeys(tiles["target"]))[:MOST_TARGETS]
    shown = tiles[tiles["target"].isin(first)].rename(columns={"auroc": "value"})
    shown = shown.assign(title=shown["target"].map(title)).drop(columns="target")
    st.altair_chart(probe_charts.tiles(shown), alt="AUROC by layer and target")
    several = domain == probed.ALL and len(domains) > 1
    left_out = tiles["target"].nunique() - len(first)
    st.caption(
        ("Means over the domains. " if several else "")
        + "Framed: the layer that folds of the training problems chose"
        + (", in most domains. " if several else ". ")
        + (f"The {MOST_TARGETS} best targets; {left_out:,} more are in the table. " if left_out else "")
        + LIMITS
    )
    rows = summary if domain == probed.ALL else summary[summary["domain"] == domain]
    rows = rows.sort_values(["auroc", "target"], ascending=[False, True], ignore_index=True)
    _table(rows, title, domain)


def _table(rows: pd.DataFrame, title: dict[str, str], domain: str) -> None:
    three = ("auroc", "ci_low", "ci_high"), ("strongest_auroc", "strongest_low", "strongest_high")
    said = [[_interval(*v) for v in rows[list(names)].itertuples(index=False)] for names in three]
    table = rows.assign(title=rows["target"].map(title), interval=said[0], beside=said[1])
    names = ["title", "domain", "auroc", "interval", "layer", "strongest", "strongest_auroc", "beside", "selectivity"]
    names += ["accuracy", "majority_rate", "rows", "positives", "problems", "classes"]
    st.dataframe(
        table[names],
        hide_index=True,
        height=labels.height(len(table)),
        key=f"targets_{domain}_{len(table)}",
        on_select=lambda: _pick(f"targets_{domain}_{len(table)}", table),
        selection_mode="single-row",
        alt="Targets with their strongest control",
        column_config={
            "title": st.column_config.TextColumn("target", width=170, pinned=True),
            "auroc": number("AUROC", format="%.3f", help="at the layer chosen, on unseen problems"),
            "interval": st.column_config.TextColumn("95 %", help="over problems"),
            "layer": number("layer", format="%d"),
            "strongest": st.column_config.TextColumn("strongest control"),
            "strongest_auroc": number("its AUROC", format="%.3f"),
            "beside": st.column_config.TextColumn("its 95 %"),
            "selectivity": number(
                format="%+.3f", help="accuracy, less that on a random label for each type of token (Hewitt and Liang)"
            ),
            "accuracy": number(format="%.3f"),
            "majority_rate": number("majority", format="%.3f", help="accuracy of always saying the commonest class"),
            "rows": number("states", format="localized"),
            "positives": number(format="localized"),
            "problems": number(format="localized"),
            "classes": number(format="%d"),
        },
    )
    st.caption("Select a target to see it below. Controls with other labels are in its curve, and not among these.")


def _pick(key: str, table: pd.DataFrame) -> None:
    rows = st.session_state[key].selection.rows
    if rows and rows[0] < len(table):
        st.session_state["target"] = table["title"].iloc[rows[0]]
        st.session_state["in"] = table["domain"].iloc[rows[0]]


def _interval(value: float, low: float, high: float) -> str:
    return "—" if pd.isna(value) or pd.isna(low) else f"{low:.3f} – {high:.3f}"


def one_target(frame: pd.DataFrame, summary: pd.DataFrame, title: dict[str, str], result: str, acts: str) -> None:
    """Curve by layer, reliability, transfer and the worst errors of one target."""
    st.subheader("One target")
    ranked = summary.sort_values("auroc", ascending=False, kind="stable")["target"].unique()
    raw = {title[target]: target for target in ranked}
    with st.container(horizontal=True, vertical_alignment="bottom"):
        target = raw[labels.pick("Target", list(raw), "target", width=320)]
        here = sorted(summary.loc[summary["target"] == target, "domain"])
        domain = labels.pick("In domain", here, "in", width=200)
        asked = probed.asked(key, result)
        asked = asked[(asked["acts"] == acts) & (asked["target"] == target) & (asked["domain"] == domain)]
        questions = probed.unique({q: q for q in sorted(asked["question"])})
        question = (
            questions[labels.pick("Question", list(questions), "question", width=200)] if len(questions) else None
        )
    row = summary[(summary["target"] == target) & (summary["domain"] == domain)].iloc[0]
    left, right = st.columns(2)
    with left:
        st.markdown("**By layer**")
        own, controls = probed.by_layer(frame, target, domain)
        st.altair_chart(probe_charts.by_layer(own, controls), alt="AUROC by layer, with controls")
        st.caption(
            f"Ring: the nested choice, layer {row['layer']}: {_said(row)}. Lines: what tells the label without these "
            "states, at that layer where it has layers. The control task and shuffled labels have other labels."
        )
    found = None if question is None else probed.labelled(key, result, acts, target, domain, question)
    with right:
        st.markdown("**Is a probability what it says**")
        _calibration(found, row, question)
    _transfer(frame, target, summary)
    st.markdown("**Where it is most wrong**")
    _worst(found, question, (result, acts, target))


def _said(row: pd.Series) -> str:
    interval = _interval(row["auroc"], row["ci_low"], row["ci_high"])
    return f"AUROC {row['auroc']:.3f}" + ("" if interval == "—" else f", {interval}")


def _calibration(found: pd.DataFrame | None, row: pd.Series, question: str | None) -> None:
    if found is None or found.empty:
        st.caption("This probe was not read out, or nowhere that the right answer is known.")
        return
    bins = probed.reliability(found)
    st.altair_chart(probe_charts.reliability(bins), alt="Share of positives by probability read out")
    share = found["label"].mean()
    with st.container(horizontal=True):
        for name, value, help in (
            ("ECE", row["ece"], "mean distance from the diagonal; smaller is better"),
            ("Brier", row["brier"], "mean squared error of the probability; smaller is better"),
            ("Brier of the share", share * (1 - share), "of always saying the share of positives"),
        ):
            st.metric(name, labels.number(value), help=help, width="content")
    least, most = int(bins["states"].min()), int(bins["states"].max())
    each = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    with st.container():
        st.caption(
            f"The {_of(question)}: {len(found):,} states of {found['trace_row'].nunique():,} traces in {len(bins)} "
            f"bins of {each}. These are of the traces that were read out; ECE and Brier are of all states, the mean "
            "over questions, at the nested choice of the layer."
        )


def _of(question: str | None) -> str:
    return f"probability of {labels.code(question, 40)}"


def _transfer(frame: pd.DataFrame, target: str, summary: pd.DataFrame) -> None:
    st.markdown("**From one domain to another**")
    table = probed.transfer(frame, target)
    if table["test"].nunique() < 2:
        pooled = set(summary.loc[summary["target"] == target, "domain"]) == {probed.ALL}
        why = "What domains tell is fitted over all of them at once." if pooled else "It could be asked in one domain."
        st.caption(f"Nothing to transfer to. {why}")
        return
    left, right = st.columns(2)
    left.altair_chart(probe_charts.transfer(table), alt="AUROC by domain of training and of test")
    with right:
        means = probed.means_by_layer(frame, target)
        if len(means):
            st.altair_chart(probe_charts.means(means), alt="Mean AUROC within domains and across them, by layer")
    st.dataframe(
        table,
        hide_index=True,
        height=labels.height(len(table), 300),
        alt="Transfer between domains",
        column_config={
            "train": "trained in",
            "test": "tested in",
            "layer": number(format="%d", help="chosen in the domain of training"),
            "value": number("AUROC", format="%.3f"),
            "ci_low": number("95 % from", format="%.3f"),
            "ci_high": number("to", format="%.3f"),
            "p": number("p of transfer", format="%.3f", help="two-sided about .5, against 99 fits to moved labels"),
            "null": number("95 % of shuffled", format="%.3f", help="95 % of fits to moved labels stay below"),
            "cosine": number(format="%+.3f", help="of the two domains' directions, where states have unit covariance"),
        },
    )
    st.caption("p is not adjusted for the number of pairs. Below .5 the direction is turned round in the other domain.")


def _worst(found: pd.DataFrame | None, question: str | None, probe: tuple[str, str, str]) -> None:
    wrong = probed.most_wrong(found) if found is not None else pd.DataFrame()
    if wrong.empty:
        st.caption("No state whose right answer is known is on the wrong side of .5.")
        return
    with st.container():
        st.caption(
            f"At the bar the state has read what is left of it; after the bar {_of(question)}, and whether it is so. "
            "The worst of each trace. Select a line to open its trace at the place."
        )
    said = [
        f"│{p:.2f} {'yes' if label else 'no '}" for p, label in zip(wrong["probability"], wrong["label"], strict=True)
    ]
    name = next((words for words, one in probed.choices(run).items() if one == probe), None)
    tokens.kwic(_lines(wrong, said, underlay="probe", readout=name, question=question), key="worst")


def _lines(places: pd.DataFrame, middles: list[str], **more: object) -> list[list]:
    rows = places["trace_row"].tolist()
    texts = dict(zip(rows, run.shard_rows("traces", rows, ["text"])["text"].to_pylist(), strict=True))
    made = []
    for row, at, middle in zip(rows, places["read"].tolist(), middles, strict=True):
        left = labels.one_line(texts[row][max(0, at - 4 * CONTEXT) : at], 4 * CONTEXT)[-CONTEXT:]
        right = labels.one_line(texts[row][at : at + 4 * CONTEXT], 4 * CONTEXT)[:CONTEXT]
        made.append([left, middle, right, False, labels.query(trace=row, place=at, **more)])
    return made


def motif_map(result: str, acts: str) -> None:
    """Sites of motifs on a plane, and how far the states themselves group by motif."""
    st.subheader("Map of motif sites")
    layout, figures = probed.layout(key, result)
    mine = layout[layout["acts"] == acts] if len(layout) else layout
    if mine.empty:
        st.caption("No map: it takes states at two motifs or more.")
        command = (
            f"dsl-probe capture {run.path} --model MODEL --layers 8 16 --at motifs:FILE\ndsl-probe probe {run.path}"
        )
        st.code(labels.visible(command), language="bash", wrap_lines=True)
        return
    ids = mine["motif_id"].value_counts().sort_index().sort_values(ascending=False, kind="stable").index.tolist()
    known = probed.texts(run, ids)
    names = {value: words for words, value in probed.unique({i: known.get(i, i) for i in ids}, 40).items()}
    coloured = st.multiselect(
        "Motifs with a colour of their own",
        [names[i] for i in ids],
        default=[names[i] for i in ids[:MOST_COLOURS]],
        key=f"coloured_{result}_{acts}",
        max_selections=len(probe_charts.COLOURS),
    )
    motif = mine["motif_id"].map(names)
    rest = "other motifs"
    points = mine[["x", "y", "read"]].assign(trace=mine["trace_row"], motif=motif.where(motif.isin(coloured), rest))
    event = st.altair_chart(
        probe_charts.sites(points, coloured, rest),
        on_select="rerun",
        key=f"sites_{result}_{acts}",
        alt="Map of the states at motifs",
    )
    of = figures.get(acts) or {}
    if of:
        percent = {
            n: "—" if of.get(n) is None else f"{of[n]:.0%}" for n in ("neighbours", "chance", "neighbours_in_map")
        }
        st.caption(
            f"Layer {of['layer']}, {of['sites']:,} sites of {of['motifs']} motifs. Of the 10 nearest states of other "
            f"problems {percent['neighbours']} are of the same motif, by chance {percent['chance']}; on the map "
            f"{percent['neighbours_in_map']}. Clusters of the states (k-means) agree with the motifs by "
            f"{labels.number(of.get('ari'), 2)} (adjusted Rand index: 0 by chance, 1 wholly)."
        )
    st.caption(MAP)
    picked = event["selection"].get("site", []) if event else []
    if picked:
        place = pd.DataFrame([{"trace_row": int(picked[0]["trace"]), "read": int(picked[0]["read"])}])
        tokens.kwic(_lines(place, ["│"]), key="site_line")
    else:
        st.caption("Select a point to see its place.")


run = data.current()
st.title("Probes")
results = states.need_results(run, "probe")
with st.container(horizontal=True, vertical_alignment="bottom"):
    result = labels.pick("Result", results, "probes", width=240)
    key = data.key(run, f"probe.{result}")
    every, every_summary = probed.probes(key, result), probed.summary(key, result)
    captures = sorted(set(every_summary["acts"])) if len(every_summary) else []
    chosen = labels.pick("States", captures, "acts", width=320) if captures else None
states.warn_if_stale(run, f"probe.{result}")
failed = (run.stage(f"probe.{result}") or {})["counts"].get("failed", {})
if failed:
    with st.expander(f"Without a result: {len(failed):,} target{'s' * (len(failed) != 1)}"):
        st.text("\n".join(f"{labels.one_line(what, 80)}: {labels.one_line(why, 400)}" for what, why in failed.items()))
if chosen is None:
    st.info("No target of this result could be asked.")
    st.stop()
own_frame = every[every["acts"] == chosen]
own_summary = every_summary[every_summary["acts"] == chosen]
titles = {target: words for words, target in probed.titles(run, sorted(set(own_summary["target"]))).items()}
every_target(own_frame, own_summary, titles)
one_target(own_frame, own_summary, titles, result, chosen)
motif_map(result, chosen)
