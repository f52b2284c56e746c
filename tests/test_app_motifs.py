"""The filters of the page Motifs, against what the tables and texts of small runs say."""

import shutil
from pathlib import Path

import made_probes
import numpy as np
import pyarrow as pa
import pytest
from corpus import write_jsonl
from pages import words

import dsl_probe
from dsl_probe.store import Run

SAID = (
    "wait , x = 12 and 3 + 4 = 7 done",
    "подумаем x = 5 , 因此 wait + 9 done",
    "so αβγ holds == 8 and δεζ ends done",
)


@pytest.fixture(scope="module")
def scripts_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Every text twice a problem, so that all of its sequences are motifs."""
    root = tmp_path_factory.mktemp("scripts")
    rows = [{"text": text, "problem_id": str(k), "model": "m", "domain": "d"} for k in range(12) for text in SAID]
    run = Run.create(root / "run")
    dsl_probe.import_traces(run, [write_jsonl(root / "t.jsonl", rows)])
    dsl_probe.mine_motifs(run, dsl_probe.MineConfig(min_traces=5, min_problems=5, q=1.0), executor="process:1")
    return run


def shown(at) -> set[str]:
    assert not at.exception and not at.error and not at.warning
    return set(at.dataframe[0].value["text"]) if "text" in at.dataframe[0].value else set()


def holding(run: Run, *units: str) -> set[str]:
    """Motifs that hold the units without a gap, by their patterns; * is any."""
    found, n = set(), len(units)
    for text, pattern in zip(*run.table("motifs", ["text", "pattern"]).to_pydict().values(), strict=True):
        windows = (pattern[i : i + n] for i in range(len(pattern) - n + 1))
        if any(all(u in ("*", p) for u, p in zip(units, w, strict=True)) for w in windows):
            found.add(text)
    return found


@pytest.mark.parametrize(
    ("query", "units"),
    [
        ("= <NUM>", ("=", "<NUM>")),
        ("<NUM> + *", ("<NUM>", "+", "*")),
        ("X= <NUM>", ("x", "=", "<NUM>")),
        ("因此 *", ("因", "此", "*")),
        ("* <NUM>", ("*", "<NUM>")),
    ],
)
def test_a_search_with_slots_finds_the_patterns_that_hold_it(show, scripts_run: Run, query: str, units: tuple):
    truth = holding(scripts_run, *units)
    assert truth and shown(show("motifs", scripts_run.path, q=query, formats="true")) == truth


def test_a_slot_is_no_word_and_a_sign_no_part_of_another(show, scripts_run: Run):
    found = shown(show("motifs", scripts_run.path, q="= <NUM>"))
    assert found and not any(text.startswith("== <NUM>") for text in found)
    assert "No motif matches" in words(show("motifs", scripts_run.path, q="<VAR> = *"))
    assert shown(show("motifs", scripts_run.path, q="num")) == {
        text for text in scripts_run.table("motifs", ["text"])["text"].to_pylist() if "num" in text.lower()
    }


@pytest.mark.parametrize(
    ("script", "held"),
    [("cyrillic", "подумаем"), ("han", "因"), ("greek", "α"), ("several scripts", ""), ("no letters", "")],
)
def test_scripts_are_those_of_the_letters(show, scripts_run: Run, script: str, held: str):
    import unicodedata

    def kinds(text: str) -> set[str]:
        plain = text.replace("<NUM>", "")
        names = [unicodedata.name(c).split()[0] for c in plain if unicodedata.category(c)[0] == "L"]
        return {"HAN" if name == "CJK" else name for name in names}

    at = show("motifs", scripts_run.path, script=script, formats="true")
    every = scripts_run.table("motifs", ["text"])["text"].to_pylist()
    wanted = {
        "several scripts": {t for t in every if len(kinds(t)) > 1},
        "no letters": {t for t in every if not kinds(t)},
    }.get(script, {t for t in every if script.upper() in kinds(t)})
    assert wanted and shown(at) == wanted
    assert any(held in text for text in wanted)


def test_only_the_scripts_of_the_run_are_offered(show, tiny_run: Path):
    assert show("motifs", tiny_run).selectbox(key="script").options == ["all", "latin"]


@pytest.mark.parametrize(("only", "sign"), [("over-represented in A", 1), ("over-represented in B", -1)])
def test_what_one_group_over_uses_is_what_the_comparison_says(show, tiny_run: Path, only: str, sign: int):
    frame = Run(tiny_run).frame("comparisons/b-vs-a/comparison")
    frame = frame[(frame["domain"] == "all") & (frame["matched"] == "equal units")]
    told = set(frame.loc[(frame["p_adj"] <= 0.05) & (np.sign(frame["z"]) == sign), "text"])
    motifs = Run(tiny_run).table("motifs", ["text"])["text"].to_pylist()
    at = show("motifs", tiny_run, only=only, comparison="b-vs-a", formats="true")
    if told & set(motifs):
        assert shown(at) == told & set(motifs)
    else:
        assert "No motif matches" in words(at)
    assert (sign == 1) == ("zorp" in told)


def test_a_run_without_the_data_says_which_command_makes_it(show, scripts_run: Run):
    at = show("motifs", scripts_run.path)
    assert at.selectbox(key="only").options == ["all"]
    assert not at.info and not at.warning
    assert f"dsl-probe compare {scripts_run.path} --a" in words(at)
    assert f"dsl-probe effects {scripts_run.path} --model MODEL" in words(at)
    asked = show("motifs", scripts_run.path, only="load-bearing")
    assert "cannot tell yet which motifs are load-bearing" in words(asked)


def test_emergent_and_load_bearing_are_what_the_tables_say(show, tiny_run: Path, tmp_path: Path):
    run = Run(shutil.copytree(tiny_run, tmp_path / "run"))
    made_probes.fill(run)
    effects = run.frame("effects/first/effects", ["motif_id", "text"], [("load_bearing", "=", True)])
    motifs = run.frame("motifs", ["motif_id", "text"])
    needed = set(motifs.loc[motifs["motif_id"].isin(effects["motif_id"]), "text"])
    assert "zorp" in needed and shown(show("motifs", run.path, only="load-bearing")) == needed
    assert "emergent" not in show("motifs", run.path).selectbox(key="only").options
    record, old = run.stage("compare.b-vs-a"), run.table("comparisons/b-vs-a/comparison")
    frame = old.to_pandas()
    zorp = frame["text"] == "zorp"
    frame.loc[zorp, "load_bearing"] = True
    frame.loc[zorp, "verdict"] = "emergent"
    run.begin("compare.judged", record["config"] | {"name": "judged"}, {}, False)
    tables = {
        "comparison": pa.Table.from_pandas(frame, old.schema, preserve_index=False),
        "sharing": run.table("comparisons/b-vs-a/sharing"),
    }
    written = [run.write_table(f"comparisons/judged/{name}.parquet", table) for name, table in tables.items()]
    run.finish("compare.judged", written, record["counts"], seed=0)
    assert shown(show("motifs", run.path, only="emergent", comparison="judged")) == {"zorp"}
    assert "No motif matches" in words(show("motifs", run.path, only="emergent", comparison="b-vs-a"))


def test_the_choices_are_taken_from_the_address(show, scripts_run: Run):
    at = show("motifs", scripts_run.path, script="greek", q="<NUM> *", formats="true")
    assert (at.selectbox(key="script").value, at.text_input(key="q").value) == ("greek", "<NUM> *")
