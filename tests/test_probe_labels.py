"""What the states of two crafted traces are asked, by hand: every target, at the sites where they are."""

import shutil

import numpy as np
import pyarrow as pa
import pytest
from altered import record_anew
from probing import ORGANISM, make_run

from dsl_probe.collect.capture import CaptureConfig, capture_states
from dsl_probe.collect.domains import worlds
from dsl_probe.probe.labels import read_labels
from dsl_probe.probe.stage import ProbeConfig, probe
from dsl_probe.store import Run
from dsl_probe.types import UserError

pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def crafted(tmp_path_factory) -> Run:
    """Two traces of whom everything is known, and one that nobody judged and that writes no state."""
    chain = worlds.make("chain", "3 + 4 * 2 - 1", "c")
    swap = worlds.make("swap", "R G B Y by 1 3 , 2 4", "s")
    shared = {"model": "m", "regime": "sft", "reference": "x"}
    rows = [
        ("c", "c", chain, "3", True, "<think> 7 tisk 5 so 3 </think> 3 <eos>"),
        ("s", "s", swap, "G B R Y", False, "<think> B G R Y hence G B R Y </think> G B R Y <eos>"),
        ("n", None, chain, None, None, "<think> so hence tisk <eos>"),
    ]
    names = ("trace_id", "problem_id", "answer", "correct", "text")
    content = [
        shared | dict(zip(names, (i, p, *rest), strict=True)) | {"domain": world.domain, "prompt": world.prompt}
        for i, p, world, *rest in rows
    ]
    run = make_run(tmp_path_factory.mktemp("crafted"), content)
    capture_states(run, CaptureConfig(ORGANISM, (0,), ("states", "every:1", "answer"), dtype="fp32", name="m"))
    return run


def told(run, target, **how):
    """Class of each labelled state by trace and characters read, and why others have none."""
    labels = read_labels(run, "m", target, **{"least": 1} | how)
    names = [labels.classes[i] for i in labels.of]
    ids = run.traces().trace_id.str[-1]
    return {(ids[t], int(r)): name for t, r, name in zip(labels.trace_row, labels.read, names, strict=True)}, labels


def test_values_are_the_true_ones_of_the_state_that_comes_next(crafted):
    # True states of chain: 7, 4, 3; of swap: B G R Y, B Y R G. Read is up to the last token before the state.
    found, labels = told(crafted, "value")
    assert found == {("c", 7): "7", ("c", 14): "4", ("c", 19): "3", ("s", 7): "B", ("s", 21): "B"}
    assert labels.classes == ("3", "4", "7", "B") == labels.questions()
    assert labels.problem.tolist() == ["c"] * 3 + ["s"] * 2
    assert labels.length.tolist() == [38] * 3 + [52] * 2
    assert told(crafted, "value:2")[0] == {("s", 7): "G", ("s", 21): "Y"}
    assert told(crafted, "digit")[0] == found
    # At other sites the state that follows whatever was read.
    everywhere, labels = told(crafted, "value@every")
    assert {read: name for (t, read), name in everywhere.items() if t == "c"} == {
        7: "7", 9: "4", 14: "4", 16: "3", 19: "3",
    }  # fmt: skip
    assert labels.left_out["nobody knows the label"] > 5


def test_the_last_state_and_the_next_unit(crafted):
    found, _ = told(crafted, "last")
    assert found == {("c", 7): "no", ("c", 14): "no", ("c", 19): "yes", ("s", 7): "no", ("s", 21): "yes"}
    found, labels = told(crafted, "next")
    assert labels.target.sites[0].rule == "states" and labels.target.sites[0].where == "at"
    assert found == {
        ("c", 9): "tisk",
        ("c", 16): "so",
        ("c", 21): "</think>",
        ("s", 15): "hence",
        ("s", 29): "</think>",
    }


def test_the_answer_that_is_near_and_whether_it_is_right(crafted):
    found, labels = told(crafted, "near@every+answer")
    # The answer of c stands at 31, that of s at 39: 16 characters before are 15 and 23.
    for (name, read), near in found.items():
        start = {"c": 31, "s": 39}[name]
        assert near == ("yes" if start - read <= 16 else "no") and read <= start
    assert {read for name, read in found if name == "c"} >= {7, 9, 14, 16, 30} and ("n", 7) not in found
    assert labels.classes == ("no", "yes") and labels.questions() == ("yes",)
    found, labels = told(crafted, "correct")
    assert set(found.items()) == {(place, "yes" if place[0] == "c" else "no") for place in found} and len(found) == 5
    everywhere, labels = told(crafted, "correct@every")
    assert "n" not in {name for name, _ in everywhere} and labels.left_out == {"nobody knows the label": 5}
    assert told(crafted, "domain@every")[1].classes == ("chain", "swap")


def test_rare_classes_are_left_out_with_a_count(crafted):
    _, labels = told(crafted, "next@every", least=2)
    table = np.zeros((2, len(labels.classes)), int)
    np.add.at(table, ((labels.domain == "swap").astype(int), labels.of), 1)
    # Two in one of the domains are enough, and the most frequent are chosen in each.
    assert (table.max(0) >= 2).all() and labels.left_out["a class of too few states"] > 0
    _, most = told(crafted, "next@every", least=2, most_classes=2)
    kept = [labels.classes.index(name) for name in most.classes]
    assert all(np.isin(np.sort(row)[::-1][:2], row[kept]).all() for row in table if row.max() >= 2)
    assert len(kept) <= 4 and len(most) + most.left_out["a class of too few states"] >= len(labels)
    with pytest.raises(
        UserError, match=r"'next' on m has 0 classes of 2 states or more in a domain; two are the least.*5 states"
    ):
        read_labels(crafted, "m", "next", least=2)


def test_a_capture_without_motifs_is_not_asked_about_them(crafted):
    with pytest.raises(UserError, match=r"--targets motifs: m has no states at motifs. Capture them: .*motifs:FILE"):
        probe(crafted, ProbeConfig(targets=("motifs",)))


def test_a_capture_without_what_was_read_is_refused(crafted, tmp_path):
    old = Run(shutil.copytree(crafted.path, tmp_path / "run"))
    name = "acts/m/00000.index"
    old.write_table(f"{name}.parquet", old.table(name).drop_columns(["read"]))
    record_anew(old, "capture.m")
    with pytest.raises(
        UserError, match=r"'m' was made by an earlier version.*capture again: dsl-probe capture .* --force"
    ):
        read_labels(old, "m", "value")
    table = crafted.table(name)
    unspelt = pa.array([None] * table.num_rows, pa.int32())
    old.write_table(f"{name}.parquet", table.set_column(table.column_names.index("read"), "read", unspelt))
    record_anew(old, "capture.m")
    with pytest.raises(UserError, match=r"has 0 classes .*\(5 states: tokens do not spell the text\)"):
        read_labels(old, "m", "value")
