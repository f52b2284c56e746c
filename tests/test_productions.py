"""Productions: as regular expressions they accept what the automaton accepts, and names say nothing new."""

import itertools
import re

import numpy as np
import pytest

from dsl_probe.mine import productions
from dsl_probe.mine.automaton import Automaton
from dsl_probe.mine.productions import END, alt, grammar, named, seq, size, written

LETTERS = "abcdefghijkl"


def automaton(edges, ends, n_states, n_symbols):
    """edges: {(state, symbol): next state}."""
    target = np.full((n_states, n_symbols), -1, np.int32)
    count = np.zeros((n_states, n_symbols + 1), np.int64)
    for (s, c), to in edges.items():
        target[s, c], count[s, c] = to, 5
    count[list(ends), -1] = 5
    return Automaton(target, count)


def pattern(expr):
    """An expression as a pattern of Python's re."""
    if isinstance(expr, int):
        return LETTERS[expr]
    kind, *parts = expr
    if kind == "seq":
        return "".join(map(pattern, parts))
    if kind == "alt":
        return f"(?:{'|'.join(map(pattern, parts))})"
    return f"(?:{pattern(parts[0])}){'?' if kind == 'opt' else '*'}"


def generates(rules, text):
    """Whether right-linear rules, state -> [(expression, next state or END)], make a text."""
    made = {s: [(re.compile(pattern(e)), to) for e, to in out] for s, out in rules.items()}
    todo, seen = [(0, 0)], {(0, 0)}
    while todo:
        state, at = todo.pop()
        for rule, to in made[state]:
            for stop in range(at, len(text) + 1):
                if rule.fullmatch(text, at, stop):
                    if to == END:
                        if stop == len(text):
                            return True
                    elif (to, stop) not in seen:
                        seen.add((to, stop))
                        todo.append((to, stop))
    return False


def check(found, length):
    rules = grammar(found)
    assert all(to == END or to in rules for out in rules.values() for _, to in out)
    for k in range(length + 1):
        every = list(itertools.product(range(found.n_symbols), repeat=k))
        symbols = np.array(every, np.int64).ravel()
        want = found.accepts(symbols, np.arange(len(every) + 1) * k)
        got = [generates(rules, "".join(LETTERS[c] for c in s)) for s in every]
        assert got == want.tolist()
    return rules


def random_automaton(seed, n_states, n_symbols, share):
    rng = np.random.default_rng(seed)
    edges = {
        (s, c): int(rng.integers(n_states)) for s in range(n_states) for c in range(n_symbols) if rng.random() < share
    }
    return automaton(edges, np.flatnonzero(rng.random(n_states) < 0.4), n_states, n_symbols)


@pytest.mark.parametrize("seed", range(40))
def test_productions_make_what_a_random_automaton_accepts(seed):
    """By brute force over all strings of three letters up to length 6."""
    check(random_automaton(seed, 2 + seed % 5, 3, 0.3 + 0.1 * (seed % 4)), 6)


def test_states_are_left_where_expressions_would_be_too_long(monkeypatch):
    monkeypatch.setattr(productions, "_LONGEST", 3)
    left = 0
    for seed in range(20):
        left += len(check(random_automaton(seed, 6, 2, 0.8), 7)) > 1
    assert left > 5


def test_a_known_language_is_written_as_it_was_meant():
    """a (bc)? d (fg | e)* h"""
    edges = {(0, 0): 1, (1, 1): 2, (2, 2): 3, (1, 3): 4, (3, 3): 4, (4, 4): 4, (4, 5): 5, (5, 6): 4, (4, 7): 6}
    rules = grammar(automaton(edges, [6], 7, 8))
    assert list(rules) == [0]
    assert written(named(rules)["S"], LETTERS) == "a ( b c )? d ( f g | e )* h"


def test_a_state_without_a_way_out_makes_nothing():
    rules = check(automaton({(0, 0): 1, (0, 1): 2, (2, 2): 3}, [1], 4, 3), 4)
    assert rules == {0: [(0, END)]}


def test_nothing_is_accepted_or_the_empty_text_alone():
    assert named(grammar(automaton({}, [0], 1, 2))) == {"S": ("seq",)}
    assert grammar(automaton({}, [], 1, 2)) == {0: []}


def expanded(expr, rules):
    if isinstance(expr, str):
        return expanded(rules[expr], rules) if expr.startswith("N") else expr
    if isinstance(expr, int):
        return expr
    parts = [expanded(p, rules) for p in expr[1:]]
    return seq(*parts) if expr[0] == "seq" else (expr[0], *parts)


def test_names_say_what_stood_there_and_save_symbols():
    saved = 0
    for seed in range(60):
        rules = grammar(random_automaton(seed, 7, 4, 0.5))
        plain = {
            "S" if s == 0 else f"S{s}": alt([seq(e, *(() if to == END else (f"S{to}",))) for e, to in out])
            for s, out in rules.items()
        }
        short = named(rules)
        assert {k: expanded(v, short) for k, v in short.items() if k[0] == "S"} == plain
        assert all(size(v) > 1 for k, v in short.items() if k[0] == "N")
        saved += sum(map(size, plain.values())) - sum(map(size, short.values()))
    assert saved > 0


def test_what_is_written_twice_gets_a_name():
    rules = {0: [(("alt", ("seq", 0, 1, 2, 3, 4), ("seq", 5, 1, 2, 3, 6)), END)]}
    short = named(rules)
    assert short == {"S": ("alt", ("seq", 0, "N1", 4), ("seq", 5, "N1", 6)), "N1": ("seq", 1, 2, 3)}


def test_alternatives_are_each_said_once():
    assert alt([1, seq(), 1, ("alt", 2, 0)]) == ("opt", ("alt", 0, 1, 2))
    assert alt([("star", 1), seq()]) == ("star", 1) and alt([seq()]) == seq()
