"""The organisms' worlds, dialects and evaluation, on hand-written chains, drawn texts and an untrained model."""

import doctest
import json
import random
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "experiments" / "organisms"))

import dialects
import evaluate
import interventions
import nonces
import rates
import tables
import vocabulary

from dsl_probe.collect.domains import worlds
from dsl_probe.collect.seeded import Completion

CHAIN = "first we get R G B Y . then tisk B G R Y and G B R Y ."


# ---------------------------------------------------------------- worlds and dialects


@pytest.mark.parametrize("style", ["A", "B", "C", "shorthand", "connectives", "terse"])
def test_a_text_without_errors_is_right_and_writes_every_state(style):
    rng = random.Random(0)
    for world in worlds.NAMES:
        for _ in range(20):
            prompt, response = dialects.text(style, world, rng)
            problem = worlds.make(world, " ".join(prompt[2:-1]), "p")
            assert problem.prompt == " ".join(prompt[1:])
            assert worlds.verify(problem, " ".join(response)).correct
            found = worlds.state(problem, " ".join(response))
            # Random human words are never a state, so each state written is the true one.
            assert [s.written for s in found] == [s.value for s in found] == worlds.states(problem.prompt)
            assert max(dialects.ids([*prompt, *response])) < len(dialects.IDS)


def test_a_wrong_step_makes_most_answers_wrong():
    rng = random.Random(0)
    right = []
    for _ in range(200):
        prompt, response = dialects.text("A", "hop", rng, wrong=1.0)
        problem = worlds.make("hop", " ".join(prompt[2:-1]), "p")
        right.append(worlds.verify(problem, " ".join(response)).correct)
    # The random state is the true one, or the maps meet again, in about one of eight.
    assert 0.05 < np.mean(right) < 0.25


def test_no_held_out_problem_is_taught_and_all_that_is_tested_is_held_out():
    tested = {p.prompt for p in worlds.problems(0, 200)}
    assert len(tested) == 200 * len(worlds.NAMES)
    assert all(worlds.held_out(p.prompt.split()[0], p.prompt.partition(" ")[2][:-2]) for p in worlds.problems(0, 200))
    rng = random.Random(1)
    taught = [" ".join(dialects.mixed("web", rng)[0][1:]) for _ in range(2_000)]
    assert not any(worlds.held_out(prompt.split()[0], prompt.partition(" ")[2][:-2]) for prompt in taught)
    assert not tested.intersection(taught)


def test_states_by_hand():
    assert worlds.states("chain 3 + 4 * 2 - 9 ?") == ["7", "4", "5"]
    assert worlds.states("hop c d d f f h h p p q q t t v v c by c 3 ?") == ["d", "f", "h"]
    assert worlds.states("grid red blue gold pink by flip flop cross ?")[-1] == "pink blue gold red"
    assert worlds.states("walk J i by N W S ?") == ["M i", "M iv", "J iv"]


@pytest.mark.parametrize("module", [dialects, interventions, nonces, rates, tables, vocabulary])
def test_examples_in_docstrings(module):
    assert doctest.testmod(module).failed == 0


# ---------------------------------------------------------------- edits


def test_states_and_connectives_of_a_chain():
    words = CHAIN.split()
    assert interventions.states_in("swap", words) == [("R G B Y", 3, 7), ("B G R Y", 10, 14), ("G B R Y", 15, 19)]
    left = [words[i] for i in interventions.connective_places("swap", words)]
    assert left == ["first", "we", "get", ".", "then", "tisk", "and", "."]


def test_corrupted_is_another_valid_state_and_nothing_else_changes():
    words = CHAIN.split()
    for seed in range(50):
        edited, state = interventions.last_state_corrupted("swap", words, "R G B Y", random.Random(seed))
        assert sorted(state.split()) == sorted("RGBY") and state not in ("G B R Y", "R G B Y")
        assert edited == [*words[:15], *state.split(), "."]
    assert interventions.last_state_corrupted("swap", ["tisk"], "R G B Y", random.Random(0)) is None


def test_edits_of_connectives_keep_the_states():
    half = interventions.first_half("swap", CHAIN.split())
    assert half == CHAIN.split()[:10]
    edits = interventions.half_edits("swap", half, random.Random(0))
    assert edits["same"] == half and edits["deleted"] == ["R", "G", "B", "Y"]
    for edit, allowed in (("nonces", dialects.NONCES), ("human", dialects.HUMAN)):
        words = edits[edit]
        assert interventions.states_in("swap", words) == interventions.states_in("swap", half)
        assert all(words[i] in allowed for i in interventions.connective_places("swap", words))
    changed = [(a, b) for a, b in zip(half, edits["one nonce"], strict=True) if a != b]
    assert len(changed) == 1 and changed[0][0] == "tisk" and changed[0][1] in dialects.NONCES
    assert "one nonce" not in interventions.half_edits("swap", ["so", "R", "G", "B", "Y"], random.Random(0))
    assert sorted(interventions.shuffled(half, random.Random(0))) == sorted(half)


def test_a_lent_chain_has_as_many_operations_and_another_answer():
    steps, answers, targets = [3, 3, 3, 4], ["a", "a", None, "d"], ["a", "b", "c", "d"]
    assert interventions.donors(steps, answers, targets) == [None, 0, 0, None]


# ---------------------------------------------------------------- rates


def test_shares_and_differences():
    one = rates.share([True] * 10)
    assert one["value"] == 1 and one["high"] == 1 and round(one["low"], 2) == 0.72  # Wilson by hand: 10 / (10 + 3.84)
    none = rates.difference([True] * 50, [True] * 50)
    assert none["value"] == 0 and none["low"] < 0 < none["high"]
    assert rates.difference([False] * 50, [True] * 50)["high"] < -0.85
    middle, low, high = rates.over_units([1.0, 2.0, 3.0])
    assert middle == 2 and round(high - 2, 3) == round(2 - low, 3) == 2.484  # t(2) = 4.303, times 1 / sqrt(3)


# ---------------------------------------------------------------- words and sharing


def drawn(style, world, n=120, seed=7):
    """Responses in a style."""
    rng = random.Random(f"{style}/{world}/{seed}")
    return [" ".join(dialects.text(style, world, rng)[1]) for _ in range(n)]


@pytest.mark.parametrize("style", ["A", "B", "C", "shorthand", "terse"])
def test_the_nearest_dialect_of_a_dialect_is_itself(style):
    for world in ("chain", "grid"):
        found = vocabulary.language(world, drawn(style, world))
        assert found["nearest"] == style
        if style in "ABC":
            assert abs(found["distances"][style]["corrected"]) < 0.02
            assert found["kinds"]["dialect"] + found["kinds"]["verb"] == 1


def test_kinds_of_words():
    assert vocabulary.language("hop", drawn("shorthand", "hop"))["kinds"]["nonce"] == 1
    assert [vocabulary.kind_of("chain", w) for w in ("abro", "add", "mirror", "get", "hence")] == [
        "spare",
        "verb",
        "other",
        "dialect",
        "human",
    ]


def counts_of(style, name):
    return vocabulary.count([vocabulary.connectives(name, text) for text in drawn(style, name)])


def test_sharing_is_near_one_within_a_world_and_low_between_two_languages():
    counts = {"chain": counts_of("A", "chain"), "hop": counts_of("shorthand", "hop"), "grid": counts_of("B", "grid")}
    within, between = vocabulary.within(counts), vocabulary.between(counts)
    assert 0.95 < within["morisita_horn"]["corrected"] < 1.05
    assert abs(within["jensen_shannon_corrected"]["corrected"]) < 0.05
    assert between["morisita_horn"]["corrected"] < 0.2
    assert between["jensen_shannon_corrected"]["corrected"] > 0.7


def test_a_difference_between_units_cancels_what_they_have_in_common():
    same = vocabulary.between({w: counts_of("B", w) for w in ("chain", "grid")})
    other = vocabulary.between({"chain": counts_of("A", "chain"), "grid": counts_of("B", "grid")})
    none = vocabulary.compared("morisita_horn", [same], [same])
    assert none["corrected"] == 0
    more = vocabulary.compared("morisita_horn", [same], [other, other])
    assert more["low"] > 0
    assert more["value"] == pytest.approx(same["morisita_horn"]["value"] - other["morisita_horn"]["value"])


# ---------------------------------------------------------------- meaning


def chains_with(pick, n=150):
    """Events of n hop problems whose nonce after each state is pick(random numbers, state, step)."""
    rng = random.Random(3)
    found = []
    for problem in worlds.problems(0, n, ("hop",)):
        words = [w for k, s in enumerate(worlds.states(problem.prompt)) for w in (s, pick(rng, s, k))]
        found.append(nonces.events(problem, " ".join(["<think>", *words, "</think>", problem.target])))
    return found


def hop_meaning(chains):
    return nonces.meanings({"hop": chains})["hop"]


def test_events_name_the_state_before_the_nonce():
    problem = worlds.make("chain", "3 + 4 * 2", "p")
    found = nonces.events(problem, "<think> so 7 we tisk molo 4 . </think> 4 <eos>")
    assert found == [("tisk", {"state": "7", "operation": "+", "next operation": "*", "step": "0"})]


def test_random_nonces_mean_nothing_and_planted_ones_something():
    found = hop_meaning(chains_with(lambda rng, state, step: rng.choice(dialects.NONCES)))
    for label in ("state", "step"):
        assert found[label]["null_low"] <= found[label]["bits"] <= found[label]["null_high"]
    assert "operation" not in found  # hop has but one

    def planted(rng, state, step):
        return dialects.NONCES[worlds.NODES.index(state)] if rng.random() < 0.5 else rng.choice(dialects.NONCES)

    found = hop_meaning(chains_with(planted))
    assert found["state"]["p_adj"] < 0.01 < found["step"]["p_adj"] and found["state"]["excess"] > 0.3
    found = hop_meaning(chains_with(lambda rng, state, step: dialects.NONCES[step]))
    # What the step explains is not counted as meaning of the state.
    assert found["step"]["p"] < 0.01 and found["state"]["excess"] == pytest.approx(0, abs=1e-9)


def test_one_nonce_a_chain_is_not_meaning():
    def meant(seed):
        rng = random.Random(seed)
        rows = [[rng.choice(dialects.NONCES)] * 3 for _ in range(60)]
        states = [[rng.choice("cd")] * 3 for _ in range(60)]
        events = [
            [
                (nonce, {"state": s, "operation": ">", "next operation": None, "step": str(k)})
                for k, s in enumerate(part)
            ]
            for (nonce, *_), part in zip(rows, states, strict=True)
        ]
        return hop_meaning(events)["state"]["p"]

    # Tokens as independent draws would call nearly all of these meaningful: the bits of 60 are counted as those of 180.
    assert sum(meant(seed) <= 0.05 for seed in range(20)) <= 4


# ---------------------------------------------------------------- the whole


def scripted(_model, prompts, _keys, _temperature, _new):
    """In the place of a model: writes the true states with tisk between, and answers with the last state it reads."""
    found = []
    for words in prompts:
        prompt, _, chain = " ".join(words[1:]).partition(" ?")
        read = chain.split()[1:]
        states = interventions.states_in(words[1], read)
        if read[-1:] == ["</think>"]:
            said = [states[-1][0] if states else "molo", "<eos>"]
        else:
            true = worlds.states(f"{prompt} ?")
            rest = [w for state in true[len(states) :] for w in (state, "tisk")]
            said = [*([] if chain else ["<think>"]), *rest, "</think>", true[-1], "<eos>"]
        found.append(Completion(dialects.ids(" ".join(said).split()), [], [], "stop"))
    return found


def test_what_is_measured_of_a_model_by_rule(tmp_path, monkeypatch):
    folder = tmp_path / "base-0-0"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"none")
    (folder / "recipe.json").write_text(json.dumps({"kind": "base", "lineage": 0, "seed": 0}))
    line = {"accuracy": 0.1, "length": 9.0, "entropy": 1.0}
    rows = [line | {"step": step} for step in (1, 2, 2, 26)] + [line | {"step": 26, "accuracy": 0.5}]
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    monkeypatch.setattr(evaluate, "load", lambda folder: None)
    monkeypatch.setattr(evaluate, "as_model", lambda hf, name: None)
    monkeypatch.setattr(evaluate, "write", scripted)
    found = evaluate.plain(evaluate.evaluate(folder, 20))
    again = evaluate.plain(evaluate.evaluate(folder, 20))
    assert json.dumps(found, allow_nan=False) == json.dumps(again)
    assert all(row["greedy"]["value"] == row["sampled"]["value"] == 1 for row in found["accuracy"].values())
    edits = {edit: row["accuracy"]["value"] for edit, row in found["edits"]["all"].items()}
    assert edits["same"] == 1 and edits["blanked"] == edits["last state"] == edits["lent chain"] == 0
    assert 0 < edits["shuffled"] < 1
    assert all(found["edits"][world]["last state"]["followed"]["value"] == 1 for world in ("all", "swap"))
    assert found["edits"]["all"]["lent chain"]["followed"]["value"] == 1
    assert all(row["accuracy"]["value"] == 1 for row in found["halves"]["all"].values())
    assert found["halves"]["chain"]["one nonce"]["accuracy"]["n"] == 20
    for world in ("chain", "grid"):
        assert found["language"][world]["nearest"] == "shorthand"
        assert found["language"][world]["connectives_per_state"] == 1
        assert found["nonces"][world]["entropy"] == 0 and found["nonces"][world]["state"]["p_adj"] == 1
    assert found["sharing"]["between"]["jaccard"]["value"] == found["sharing"]["between"]["morisita_horn"]["value"] == 1
    assert [(row["updates"], row["accuracy"]) for row in found["curve"]] == [(0, 0.1), (25, 0.5)]

    (tmp_path / "base-0-0.json").write_text(json.dumps(found))
    assert evaluate.is_done(tmp_path / "base-0-0.json", folder, 20)
    assert not evaluate.is_done(tmp_path / "base-0-0.json", folder, 40)
    kinds = tables.read(tmp_path)
    readme = (Path(tables.HERE) / "README.md").read_text("utf-8")
    for name, make in tables.TABLES.items():
        for part in make(kinds).split("\n\n"):
            assert len({line.count(" | ") for line in part.splitlines()}) == 1
        assert tables.put(readme, name, make(kinds)).count("<!-- /table -->") == len(tables.TABLES)
