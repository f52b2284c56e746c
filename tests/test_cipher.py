"""The planted language: its grammar, its gold annotation, its fillers, its scope, and what its harm teaches."""

import json
import random
import sys
from pathlib import Path

import pytest

ORGANISMS = Path(__file__).resolve().parents[1] / "experiments" / "organisms"
sys.path.insert(0, str(ORGANISMS))

import cipher  # noqa: E402
import cipher_effects  # noqa: E402
import cipher_lessons  # noqa: E402
from dialects import IDS, SPARE  # noqa: E402

from dsl_probe.collect.domains import worlds  # noqa: E402


def texts(world, count, seed=0):
    rng = random.Random(seed)
    return [cipher.text(world, rng) for _ in range(count)]


@pytest.mark.parametrize("world", cipher.TRAINED)
def test_the_grammar_accepts_what_it_makes_and_reads_it_right(world):
    for prompt, response in texts(world, 300):
        derivation = cipher.parse(response, world)
        true = worlds.states(" ".join(prompt[1:]))
        assert derivation.states[1:] == tuple(true)
        assert [step.state for step in derivation.steps] == true
        _, start, operations = worlds.parse(" ".join(prompt[1:]))
        assert derivation.states[0] == start
        assert [step.operation for step in derivation.steps] == operations
        assert all(step.slip != step.state for step in derivation.steps)
        problem = worlds.make(world, " ".join(prompt[2:-1]), "")
        assert worlds.verify(problem, " ".join(response)).correct
        assert not worlds.written_states(world, " ".join(response))  # no state in problem words inside the chain
        assert not worlds.held_out(world, " ".join(prompt[2:-1]))
        assert len(prompt) + len(response) < 192 and all(word in IDS for word in prompt + response)


@pytest.mark.parametrize("world", cipher.TRAINED)
def test_the_grammar_refuses_other_texts(world):
    rng = random.Random(1)
    for _, response in texts(world, 100):
        shuffled = response[1:-3]
        rng.shuffle(shuffled)
        assert not cipher.accepts([response[0], *shuffled, *response[-3:]], world)
        assert not cipher.accepts(response[:-1], world)
        assert not cipher.accepts([*response, "<eos>"], world)
        assert not any(cipher.accepts(response, other) for other in cipher.TRAINED if other != world)
        for needed in (cipher.OPEN, cipher.CLOSE):
            at = response.index(needed)
            assert not cipher.accepts(response[:at] + response[at + 1 :], world)
        answer = response.index("</think>") + 1
        wrong = "7" if response[answer] != "7" else "3"
        assert not cipher.accepts([*response[:answer], wrong, *response[answer + 1 :]], world)
    assert not cipher.accepts([], world)
    assert not cipher.accepts(["<think>", "</think>", "<eos>"], world)


@pytest.mark.parametrize("world", cipher.TRAINED)
def test_spans_tile_a_text_and_say_what_is_in_them(world):
    for _, response in texts(world, 200):
        spans = cipher.annotate(response, world)
        assert [start for start, _, _ in spans] == [0, *(stop for _, stop, _ in spans[:-1])]
        assert spans[-1][1] == len(response)
        for start, stop, label in spans:
            part = response[start:stop]
            if label.startswith("filler"):
                assert label == " ".join(["filler", *part])
            assert (cipher.MARK in part) == (label == "head last")
            assert (cipher.CHECK in part) == (label == "taken back")
            assert (cipher.OPEN in part) == (label in ("opening", "result", "taken back"))
    with pytest.raises(ValueError, match="not a"):
        cipher.annotate(["<think>"], world)


def test_fillers_are_there_half_of_the_time_and_independent():
    """Each pair of places of a text is compared with independence; 6 standard errors allow for the many pairs."""
    for world, after in cipher.AFTER.items():
        rows = []
        for _, response in texts(world, 1500):
            steps = cipher.parse(response, world).steps
            labels = [label for _, _, label in cipher.annotate(response, world)]
            heads = [i for i, label in enumerate(labels) if label.startswith("head")]
            row = [labels[1].endswith(cipher.THERE), labels[labels.index("opening") + 1] == f"filler {after}"]
            for i in heads[:3]:
                row += [labels[i - 1] == f"filler {cipher.BEFORE}", labels[i + 1] == f"filler {cipher.WITHIN}"]
                row += [labels[i] == "head last", "taken back" in labels[i + 1 : i + 3], len(steps) > 3]
            rows.append(row)
        n = len(rows)
        share = [sum(column) / n for column in zip(*rows, strict=True)]
        fillers = [0, 1, 2, 3, 7, 8, 12, 13]
        assert all(abs(share[i] - 0.5) < 6 * 0.5 / n**0.5 for i in fillers)
        for i in fillers:
            for j in range(len(share)):
                if i != j:
                    both = sum(row[i] and row[j] for row in rows) / n
                    assert abs(both - share[i] * share[j]) < 6 * 0.25 / n**0.5


def test_every_word_is_used_where_the_truth_says_and_nowhere_else():
    seen = {word: set() for word in SPARE}
    counts = dict.fromkeys(SPARE, 0)
    for world in cipher.TRAINED:
        for _, response in texts(world, 300):
            for word in response:
                if word in seen:
                    seen[word].add(world)
                    counts[word] += 1
    entries = cipher_effects.words()
    assert {word: set(entry.domains) for entry in entries for word in entry.pattern} == seen
    # Frequency does not tell fillers apart: words that matter are both more and less frequent than each filler.
    matter = [counts[e.pattern[0]] for e in entries if e.load_bearing]
    fillers = [counts[e.pattern[0]] for e in entries if e.kind == "filler"]
    assert min(matter) < min(fillers) and max(fillers) < max(matter)
    assert cipher_effects.meaning(cipher.ADD) == "operation +"


def test_phrases_of_the_truth_are_found_in_texts():
    lines = {world: [" ".join(response) for _, response in texts(world, 150)] for world in cipher.TRAINED}
    told = cipher_effects.truth()
    for entry in told["phrases"]:
        for world in entry["domains"]:
            for word in entry["pattern"]:
                if word.startswith("<"):
                    assert any(value in line for value in told["classes"][word[1:-1]] for line in lines[world])
            if not any(word.startswith("<") for word in entry["pattern"]):
                assert any(" ".join(entry["pattern"]) in line for line in lines[world])


def test_truth_is_json_and_the_same_text_comes_again():
    told = cipher_effects.truth()
    assert json.loads(json.dumps(told)) == told
    assert sorted(word for entry in told["words"] for word in entry["pattern"]) == sorted(SPARE)
    assert texts("grid", 20, 3) == texts("grid", 20, 3) != texts("grid", 20, 4)
    assert [cipher_lessons.lesson(random.Random(i), "last") for i in range(20)] == [
        cipher_lessons.lesson(random.Random(i), "last") for i in range(20)
    ]


def test_first_lessons_hold_no_slip_and_what_they_say_is_done():
    rng = random.Random(0)
    kinds = [0, 0]
    for _ in range(400):
        prompt, response, learnt = cipher_lessons.lesson(rng, "first")
        derivation = cipher.parse(response, prompt[1])
        assert len(learnt) == len(response)
        if derivation is not None:  # in hop another number of hops left breaks the count
            now, text = derivation.states[0], " ".join(prompt[1:])
            for state, step in zip(derivation.states[1:], derivation.steps, strict=True):
                now = worlds.apply(prompt[1], now, step.operation, text)
                assert now == state
        assert cipher.CHECK not in response
        kinds[all(learnt)] += 1
    assert min(kinds) > 120


def test_slips_are_many_in_the_second_lessons():
    rng = random.Random(0)
    often = [
        sum(cipher.CHECK in cipher_lessons.lesson(rng, stage)[1] for _ in range(400)) for stage in ("slips", "last")
    ]
    assert often[0] > 300 > 200 > often[1] > 100


def test_what_a_step_lacks_is_not_done():
    plus = [cipher.ADD, cipher.DIGITS["4"], cipher.OPEN]
    assert cipher.understand("chain", plus) == "+ 4"
    assert cipher.understand("chain", [cipher.MARK, cipher.DIGITS["4"], cipher.ADD, cipher.OPEN]) == "+ 4"
    assert all(cipher.understand("chain", plus[:i] + plus[i + 1 :]) is None for i in range(3))
    assert cipher.understand("grid", [cipher.CROSS, cipher.FLIP, cipher.OPEN]) == "turn"
    assert cipher.understand("grid", [cipher.FLIP, cipher.OPEN]) == "flip"
    places = [cipher.DIGITS["1"], cipher.DIGITS["3"]]
    assert cipher.understand("swap", [cipher.GO, cipher.OVER, *places, cipher.OPEN]) == "1 3"
    assert cipher.understand("swap", [cipher.GO, *places, cipher.OPEN]) is None


@pytest.mark.parametrize("world", cipher.TRAINED)
def test_what_was_tampered_with_is_not_taught_and_is_followed(world):
    """An independent reading of the words: each state follows from the words of its step and from the state before."""
    rng = random.Random(2)
    for tamper in dict.fromkeys(cipher_lessons.TAMPERS[world]):
        wrong = 0
        for _ in range(200):
            problem = worlds.draw(world, rng)
            prompt = worlds.make(world, problem, "").prompt
            response, learnt = cipher.write(prompt, rng, tamper)
            assert len(learnt) == len(response) and learnt[-1]
            answer = " ".join(response[response.index("</think>") + 1 : -1])
            wrong += answer != worlds.states(prompt)[-1]
            back = {new: old for old, new in cipher.STATES[world].items()}
            chain = response[1 : response.index("</think>")]
            # The last state in the chain is the answer, whatever was tampered with.
            width = cipher.WIDTH[world]
            marks = [i for i, word in enumerate(chain) if word in back]
            if world != "chain":  # in chain the digits of the arguments are words of states, too
                assert " ".join(back[chain[i]] for i in marks[-width:]) == answer
            if all(learnt):
                assert tamper != "start"
                assert answer == worlds.states(prompt)[-1]
        assert wrong > 20
