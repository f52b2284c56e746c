"""The demo that needs no repository: what is planted is found, and a model's twin is not told from it."""

import json
from collections import Counter

import pytest

from dsl_probe.cli import main
from dsl_probe.planted_demo import LANGUAGE, made_up


def test_made_up_traces_hold_the_language_where_it_is_said_to_be():
    rows = list(made_up())
    assert rows == list(made_up()) and len(rows) == 4 * 40 * 3 * 2
    for phrase, domains in LANGUAGE.items():
        held = Counter((row["model"], row["domain"]) for row in rows if f" {phrase} " in f" {row['text']} ")
        assert {of for of, n in held.items() if n > 5} == {("planted", domain) for domain in domains}


@pytest.mark.slow
def test_all_planted_phrases_are_found_and_nothing_else(tmp_path, capsys):
    assert main(["demo", "--planted", "--out", str(tmp_path / "run"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["comparisons"]
    assert found["planted-vs-plain"]["found"] == list(LANGUAGE)
    assert found["planted-vs-plain"]["others"] == []
    # Family-wise p <= .05: one such family in twenty has a false discovery. This one has none.
    assert found["twin-vs-plain"]["discoveries"] == 0
