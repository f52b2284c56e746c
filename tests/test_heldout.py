"""Held-out bits: a grammar wins where order alone cannot tell, and nowhere else; every code is a distribution."""

import numpy as np
import pytest

from dsl_probe.mine import heldout
from dsl_probe.mine.grammar import as_json, category_names, from_json, per_unit, verdict
from dsl_probe.mine.heldout import Texts, code, learn_grammar, split


def texts(documents, per_problem=2):
    symbols = np.concatenate([np.asarray(d, np.int64) for d in documents])
    bounds = np.cumsum([0, *map(len, documents)])
    return Texts(symbols, bounds, np.arange(len(documents)) // per_problem)


def measured(made, n, seed=0):
    half = split(made.problem, seed, 0.5)
    found = code(made.of(half), made.of(~half), n, learn_grammar(made.of(half), n), seed)
    problem = made.problem[~half]
    return {
        "difference": per_unit(found.grammar - found.markov, found.units, problem),
        "difference_both": per_unit(found.both - found.markov, found.units, problem),
    }, found


def markov_text(seed=0, n=12, docs=400):
    """Order 1, with a row of its own for each unit."""
    rng = np.random.default_rng(seed)
    rows = np.cumsum(rng.dirichlet(np.full(n, 0.3), n), 1)
    documents = []
    for _ in range(docs):
        document = [int(rng.integers(n))]
        while len(document) < 25:
            document.append(min(int(np.searchsorted(rows[document[-1]], rng.random())), n - 1))
        documents.append([1 + s for s in document])
    return texts(documents), n + 1


def countdown(seed=0, docs=400):
    """A number, then each time one less, down to one; six free units of eight kinds before each, on average."""
    rng = np.random.default_rng(seed)
    documents = []
    for _ in range(docs):
        document = []
        for number in range(rng.integers(3, 7), 0, -1):
            document += [*(7 + rng.integers(8, size=rng.geometric(1 / 7) - 1)), number]
        documents.append(document)
    return texts(documents), 15


def test_on_order_1_text_the_grammar_does_not_beat_the_markov_model():
    made, n = markov_text()
    bits, found = measured(made, n)
    assert bits["difference"][2] > 0 and found.order == 1 + 1
    assert verdict(bits | {"shuffled": bits}).startswith("contradicted")


def test_the_grammar_wins_on_a_countdown_and_not_when_shuffled():
    made, n = countdown()
    bits, _ = measured(made, n)
    null, _ = measured(made.shuffled(0), n)
    assert bits["difference"][2] < 0
    assert bits["difference"][2] < null["difference"][1]
    assert verdict(bits | {"shuffled": null}).startswith("supported")
    assert not verdict(null | {"shuffled": null}).startswith("supported")


@pytest.mark.parametrize("alpha", [0.05, 0.2])
def test_topics_without_order_are_no_language(alpha: float):
    """Each document draws its units from a mixture of its own: the code with a memory wins nothing by knowing that."""
    rng = np.random.default_rng(5)
    made = [
        (1 + rng.choice(30, rng.integers(15, 40), p=rng.dirichlet(np.full(30, alpha)))).tolist() for _ in range(300)
    ]
    bits, _ = measured(texts(made), 31)
    null, _ = measured(texts(made).shuffled(0), 31)
    assert not verdict(bits | {"shuffled": null}).startswith("supported")


def test_verdict_reads_the_intervals():
    null = {"difference": [0.1, 0.0, 0.2], "difference_both": [0, -0.01, 0.01]}
    made = {"difference": [0.1, 0.05, 0.2], "difference_both": [-0.1, -0.2, -0.05], "shuffled": null}
    assert verdict(made).startswith("undecided")
    assert verdict(made | {"difference_both": [-0.1, -0.2, -0.005]}).startswith("contradicted")
    alone = made | {"difference": [-0.1, -0.2, -0.01]}
    assert verdict(alone).startswith("supported")
    # What is gained on shuffled text as well is no grammar.
    assert verdict(alone | {"shuffled": null | {"difference": [-0.1, -0.2, -0.01]}}).startswith("undecided")


def test_each_code_is_a_distribution_over_the_next_unit(monkeypatch):
    """The units of one document replaced by every unit in turn: the probabilities of each place sum to 1."""
    rng = np.random.default_rng(2)
    documents = [[1, *(3 + rng.permutation(3)), 2, *rng.choice([0, 6, 7], rng.integers(1, 5))] for _ in range(160)]
    made, n = texts(documents), 8
    half = split(made.problem, 0, 0.5)
    train = made.of(half)
    known = [*documents[:6], [7, 7, 2, 1], []]
    total = np.zeros((3, len(known)))
    kept = {}
    original = heldout._mixed

    def spy(parts, strength, weight):
        out = original(parts, strength, weight)
        kept[len(kept)] = out[0]
        return out

    monkeypatch.setattr(heldout, "_mixed", spy)
    # Every prefix of a document, with every unit behind it; the end is what is left when all units are asked for.
    for d, document in enumerate(known):
        at = len(document) // 2
        asked = texts([[*document[:at], u] for u in range(n)] + [document[:at]], 1)
        kept.clear()
        found = code(train, asked, n, learn_grammar(train, n))
        last = np.cumsum(found.units) - 2
        last[-1] += 1  # the end of the bare prefix
        ours = [kept[len(kept) - 2], kept[len(kept) - 1]]
        total[0, d], total[1, d] = (p[last].sum() for p in ours)
        bare = np.delete(np.arange(found.units.sum()), last)
        assert all((p[bare] > 0).all() for p in ours)
        total[2, d] = _markov_sum(train, asked, n, found.order, last)
    assert np.allclose(total, 1)


def _markov_sum(train, asked, n, order, last):
    model = heldout._markov(train, n, order)
    return model(*heldout._asked(asked, n, order))[0][last].sum()


def test_bits_are_of_documents_and_units_count_the_end():
    made, n = countdown(docs=120)
    half = split(made.problem, 0, 0.5)
    found = code(made.of(half), made.of(~half), n, learn_grammar(made.of(half), n))
    assert (found.units == np.diff(made.bounds)[~half] + 1).all() and len(found.markov) == (~half).sum()
    again = code(made.of(half), made.of(~half), n, learn_grammar(made.of(half), n))
    assert all((getattr(found, k) == getattr(again, k)).all() for k in ("markov", "grammar", "both"))


def test_interval_is_that_of_a_jackknife_by_problem():
    rng = np.random.default_rng(4)
    problem = np.repeat(np.arange(80), rng.integers(1, 6, 80))
    units = rng.integers(50, 400, len(problem))
    bits = units * (0.1 + 0.05 * rng.standard_normal(80)[problem]) + 3 * rng.standard_normal(len(problem))
    value, low, high = per_unit(bits, units, problem)
    left = [bits[problem != p].sum() / units[problem != p].sum() for p in range(80)]
    error = np.sqrt(79 / 80 * ((left - np.mean(left)) ** 2).sum())
    assert value == bits.sum() / units.sum()
    assert (high - low) / 2 == pytest.approx(1.990 * error, rel=0.03)  # 1.990: t of 79 degrees
    assert (low + high) / 2 == pytest.approx(value)


def test_halves_are_of_whole_problems_and_shuffling_stays_in_documents():
    made, _ = countdown(docs=101)
    half = split(made.problem, 3, 0.5)
    assert not set(made.problem[half]) & set(made.problem[~half])
    assert len(set(made.problem[half])) == round(0.5 * 51)
    mixed = made.shuffled(1)
    for d in range(101):
        a, b = made.bounds[d : d + 2]
        assert sorted(made.symbols[a:b]) == sorted(mixed.symbols[a:b])
    assert (mixed.symbols != made.symbols).any()
    part = made.of(half)
    assert part.bounds[-1] == len(part.symbols) and len(part.problem) == half.sum()


def test_a_grammar_comes_back_from_what_is_stored():
    made, n = countdown()
    learnt = learn_grammar(made, n)
    stored = as_json(learnt, [f"u{i}" for i in range(n)])
    automaton, members = from_json(stored)
    assert (automaton.target == learnt.automaton.target).all() and (automaton.count == learnt.automaton.count).all()
    assert [f"u{i}" for i in range(n) if learnt.category[i] == 2] == members[2]
    assert stored["names"] == category_names(members) and set(stored["productions"]) >= {"S"}
