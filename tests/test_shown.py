"""What a model wrote is shown, and neither acts nor hides: on a terminal, and in the text that pages are made of."""

import json
import unicodedata
from pathlib import Path

import pytest
from hostile import EVERY

from dsl_probe.cli import main
from dsl_probe.shown import visible
from dsl_probe.store import Run

ORGANISMS = Path(__file__).resolve().parents[1] / "data" / "organisms"
RED = "\x1b[31mred\x07"
SPELT = (
    "\U0001f469\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466",  # a family
    "\U0001f3f3\ufe0f\u200d\U0001f308 \U0001f44d\U0001f3fd \U0001f1ea\U0001f1fa",
    "\U0001f9d4\U0001f3fd\u200d\u2642\ufe0f \U0001f441\ufe0f\u200d\U0001f5e8\ufe0f",
    "\u2764\ufe0f 1\ufe0f\u20e3 \u2192\ufe0e",
    "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",  # the flag of Scotland
    "\u845b\U000e0100",
    "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # Persian
    "\u0915\u094d\u200d\u0937",  # Hindi
    "\xe9\n\tß 中",
)


@pytest.mark.parametrize("text", SPELT)
def test_what_is_part_of_a_character_stays(text: str):
    assert visible(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (RED, "␛[31mred␇"),
        ("a\x00\x7f\x9b\r", "a␀␡\ufffd␍"),
        ("zero\u200bwidth\u200cjoin\u200dnon\ufeffbom\u2060word\u00adsoft", "zero?width?join?non?bom?word?soft"),
        ("\u061c\u200e\u200f\u202eevil\u202c", "???" + "?evil?"),
        ("tag\U000e0041\U000e007f", "tag??"),
        ("a\ufe0fb\ufe00", "a?b?"),
        ("\U0001f44d\ufe01\ufe02", "\U0001f44d??"),
        ("\U0001f44d\u200d", "\U0001f44d?"),
        ("\U0001f3f4\U000e0061\U000e0062\U000e0063\U000e007f", "\U0001f3f4????"),
        ("line\u2028separator\u2029", "line?separator?"),
        ("filler\u3164\u115f", "filler??"),
        ("high\ud800alone", "high?alone"),
    ],
)
def test_what_acts_or_hides_is_seen(text: str, shown: str):
    assert visible(text) == shown.replace("?", "\ufffd")


def test_offsets_stay_and_no_control_is_left():
    for text in (*EVERY, *SPELT):
        shown = visible(text)
        assert len(shown) == len(text) and visible(shown) == shown
        assert not any(unicodedata.category(c) == "Cc" and c not in "\n\t" for c in shown)
    every = "".join(f"x{chr(c)}y" for c in range(0x110000))
    seen = visible(every)
    kept = {c for c in seen if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    # Marks of Arabic, Kaithi and Egyptian writing have a form of their own.
    assert {unicodedata.name(c, "control").split()[0] for c in kept} <= {
        *("control", "ARABIC", "SYRIAC", "KAITHI", "EGYPTIAN")
    }
    assert {c for c in kept if unicodedata.category(c) == "Cc"} == {"\n", "\t"}


def test_the_reader_cuts_no_character_of_several(module):
    import numpy as np

    text = f"so {SPELT[0]} a\u200bb"
    units = {"starts": np.array([0, 4]), "stops": np.array([2, 6]), "flags": np.zeros(2, np.uint8)}
    pieces = module("tokens").pieces(text, units, [(1, 2, "motif", "note")])
    assert len(pieces) == 3 and "".join(p[0] for p in pieces) == text.replace("\u200b", "\ufffd")


@pytest.fixture
def quiet(capfd: pytest.CaptureFixture[str]):
    """quiet(*argv): runs a command, asserts that nothing it prints acts on a terminal, and returns what it printed."""

    def run(*argv: object, code: tuple[int, ...] = (0,)) -> str:
        assert main([str(a) for a in argv]) in code, argv
        out, err = capfd.readouterr()
        for said in (out, err):
            assert not {"\x1b", "\x07", "\x9b"} & set(said), argv
        return out + err

    return run


def test_no_command_hands_a_model_s_name_to_the_terminal(quiet, one_thread, tmp_path: Path):
    red, run, group = ORGANISMS / "rl-only", tmp_path / "run", f"model={RED}"
    drawn = ("--domains", "chain", "--n", 24, "--samples", 2, "--template", "raw", "--max-new-tokens", 60)
    for name, organism in ((RED, "rl-only"), ("base", "base")):
        at = tmp_path / organism
        quiet("collect", "--out", at, "--model", ORGANISMS / organism, "--name", name, *drawn, code=(0, 1))
    quiet("import", tmp_path / "rl-only", tmp_path / "base", "--out", run)
    least = ("--min-traces", 5, "--min-problems", 5, "--q", 1)
    quiet("mine", run, *least, "--executor", "process:1")
    said = quiet("mine", run, "--language.group", group, "--language.reference", "model=base")
    assert "␛[31mred␇" in said
    pair = ("--a", group, "--b", "model=base", "--permutations", 99, "--min-problems", 3)
    assert "␛[31mred␇" in quiet("compare", run, *pair)
    content = quiet("compare", run, *pair, "--json")
    assert json.loads(content[content.index("{") : content.rindex("}") + 1])
    split = ("--group", group, "--splits", 2, "--motifs", 1, "--permutations", 99)
    assert "--min-units" in quiet("validate", run, *split, code=(2,))  # a chain is shorter than 20 units
    quiet("validate", run, *split, "--spikes", "nonce", "--min-units", 1)
    of = ("--model", red, "--name", RED, "--only", group)
    quiet("capture", run, *of, "--layers", 1, "--at", "every:8", code=(0, 1))
    quiet("score", run, "--model", red, code=(0, 1))
    quiet("probe", run, "--targets", "correct", code=(0, 1))
    motif = Run(run).frame("motifs").nlargest(1, "count")["motif_id"].item()
    quiet("effects", run, "--model", red, "--only", group, "--motifs", motif, "--budget", 300)
    for what in ("dictionary", "grammar", "report"):
        quiet("export", run, "--what", what, "--format", "md", code=(0, 2))
    quiet("export", run, "--what", "verified", "--group", group, "--out", tmp_path / "v.jsonl", code=(0, 1))
    quiet("status", run, code=(0, 1))
    quiet("status", tmp_path / RED, code=(2,))
    quiet(RED, code=(2,))
