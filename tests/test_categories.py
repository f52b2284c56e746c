"""Categories of units: planted classes come back, noise has none."""

import numpy as np
from sklearn.metrics import adjusted_rand_score

from dsl_probe.mine.categories import LEAST, REST, bigrams, categories


def flat(documents):
    return np.concatenate([np.asarray(d, np.int64) for d in documents]), np.cumsum([0, *map(len, documents)])


def test_planted_classes_come_back_exactly():
    """Subjects, verbs, objects and marks, 20 of each used at random: 1 for the adjusted Rand index."""
    rng = np.random.default_rng(0)
    truth = np.repeat(np.arange(4), 20)
    documents = []
    for _ in range(500):
        kinds = [0, 1, 2, 3] * rng.integers(1, 4) + [0, 1, 3]
        documents.append([20 * k + rng.integers(20) for k in kinds])
    found = categories(*flat(documents))
    assert adjusted_rand_score(truth, found) == 1 and sorted(set(found.tolist())) == [2, 3, 4, 5]


def test_units_that_never_repeat_themselves_are_still_one_category():
    """`p <some order of six units> q`: within a permutation no unit follows itself."""
    rng = np.random.default_rng(1)
    documents = [[6, *rng.permutation(6), 7, *rng.permutation(6), 8] for _ in range(300)]
    found = categories(*flat(documents))
    assert len(set(found[:6].tolist())) == 1 and len(set(found.tolist())) == 4


def test_pure_noise_has_one_category_or_nearly():
    """Where units are used alike, one; where one in five is the same, that one may stand alone."""
    rng = np.random.default_rng(2)
    assert set(categories(*flat(rng.integers(0, 60, (400, 50)))).tolist()) == {2}
    weight = 1 / np.arange(1, 61)
    documents = [rng.choice(60, 50, p=weight / weight.sum()) for _ in range(400)]
    assert np.bincount(categories(*flat(documents))).max() >= 59


def test_rare_units_have_no_category_and_the_most_used_come_first():
    rng = np.random.default_rng(3)
    documents = [[0, 1 + rng.integers(3), 4] for _ in range(200)] + [[5]] * (LEAST - 1) + [[6, 7]] * LEAST
    found = categories(*flat(documents))
    assert found[5] == REST and len(set(found[1:4].tolist())) == 1
    uses = np.bincount(found[flat(documents)[0]])
    assert (np.diff(uses[2:]) <= 0).all()
    assert (categories(*flat(documents), most=2) == REST).sum() == 6


def test_text_without_units_and_text_of_rare_units():
    for documents in ([[]], [[], []], [[0]], [[0, 1], [1, 2, 0]]):
        symbols, bounds = flat(documents)
        assert (categories(symbols.astype(np.int64), bounds) == REST).all()


def test_bigrams_begin_and_end_with_the_edge():
    documents = [[1, 2, 2], [], [2]]
    want = np.zeros((3, 3), int)
    for d in documents:
        for a, b in zip([0, *d], [*d, 0], strict=True):
            want[a, b] += 1
    assert (bigrams(*flat(documents), 3) == want).all()
