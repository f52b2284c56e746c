"""Transfer between two domains whose directions are planted, its null, and how alike directions are."""

from dataclasses import replace

import numpy as np
import pytest
from probing import CONFIG, judged, labelled, unit
from sklearn.metrics import roc_auc_score

from dsl_probe.probe.asked import Rows, Sweep, ask_domains
from dsl_probe.probe.solvers import solver_of
from dsl_probe.probe.sweep import LayerFit, fit_layer
from dsl_probe.probe.transfer import (
    SHUFFLES,
    Part,
    add_shuffled,
    add_transfer,
    askable,
    part_of,
    pooled_covariance,
    transfer_auroc,
    whitened_cosine,
)

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")


def domain(rng, name, direction, n=50, pull=4.0, config=CONFIG):
    """A domain whose label stands along `direction`, and its share of the question."""
    problem, of = np.repeat(np.arange(n), 4), rng.integers(0, 2, 4 * n)
    x = rng.normal(size=(4 * n, len(direction))) + pull * np.outer(of - 0.5, direction)
    x = torch.tensor(x, dtype=torch.float32)
    asked = ask_domains(labelled(of, [f"{name}{p}" for p in problem], name), config)[0]
    return asked, x, fit_layer(x, asked.columns, asked.fold, *solver_of(config))


def pair(rng, first, second, **how):
    """Two domains by their directions: what is asked and the parts."""
    made = [domain(rng, name, direction, **how) for name, direction in (("a", first), ("b", second))]
    problems = np.unique(np.concatenate([asked.labels.problem for asked, _, _ in made]).astype(str))
    return [asked for asked, _, _ in made], [part_of(asked, x, fit, 1, problems) for asked, x, fit in made]


def sweep(config=CONFIG):
    return Sweep(None, config, "m", "resid_post", (0,), *solver_of(config))


def table(rows):
    return rows.table().to_pandas()


@pytest.mark.parametrize(("angle", "low", "high"), [(0, 0.95, 1), (180, 0, 0.05), (90, 0.3, 0.7)])
def test_a_direction_transfers_where_it_is_the_same(angle, low, high):
    rng = np.random.default_rng(8)
    a = unit(rng, 24)
    b = unit(rng, 24)
    b = (b - a * (a @ b)) / np.linalg.norm(b - a * (a @ b))
    turned = np.cos(np.radians(angle)) * a + np.sin(np.radians(angle)) * b
    asked, parts = pair(rng, a, turned)
    there = transfer_auroc(parts[0], parts[1], [0])
    scores = parts[1].x.numpy() @ parts[0].coef[0] + parts[0].intercept[0]
    assert there.value == pytest.approx(roc_auc_score(parts[1].labels[:, 0], scores))
    assert low <= there.value <= high
    rows = Rows(acts="m", target="value", site="resid_post", probe="logistic")
    add_transfer(rows, asked, parts, 3)
    add_shuffled(rows, sweep(), asked, parts, 0, 3)
    found = table(rows)
    across = found[(found.metric == "auroc") & (found.train == "a") & (found.test == "b") & (found.control == "")]
    assert across.value.item() == there.value and across.ci_low.item() == there.interval()[0]
    assert set(found.layer) == {3} and set(found.acts) == {"m"}
    cosine = found[(found.metric == "whitened cosine") & (found.train == "a")].value.item()
    assert cosine == pytest.approx(np.cos(np.radians(angle)), abs=0.25)
    within = found[found.metric == "mean within domains"]
    assert within.value.item() == pytest.approx(
        np.mean([judged(a, f(a, p)).value for a, p in zip(asked, parts, strict=True)])
    )
    both = found[(found.metric == "auroc") & (found.control == "") & (found.train != found.test)].value
    assert found[found.metric == "mean across domains"].value.item() == pytest.approx(both.mean())
    p = found[found.metric == "p of transfer"].value.item()
    assert p == pytest.approx(1 / (1 + SHUFFLES)) if angle != 90 else p > 0.02
    limit = found[found.control == "95 % of shuffled labels"].value.item()
    assert 0.5 < limit < 0.96


def f(asked, part):
    """The fit of a domain as it stands in its part."""
    return LayerFit(None, None, part.scores, part.coef, part.intercept, 0)


def test_p_of_transfer_to_labels_of_no_direction_is_as_often_small_as_it_says():
    found = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        asked, parts = pair(rng, unit(rng, 8), np.zeros(8), n=30)
        rows = Rows(acts="m", target="value", site="resid_post", probe="logistic")
        add_shuffled(rows, sweep(replace(CONFIG, seed=seed)), asked, parts, 0, 0)
        by_metric = table(rows).set_index("metric").value
        found.append(by_metric["p of transfer"])
    found = np.array(found)
    # Binomial bounds of 60 at .1 and at .5, about 3 standard errors.
    assert (found <= 0.1).sum() <= 13 and 18 <= (found <= 0.5).sum() <= 42


def test_questions_that_a_domain_lacks_are_not_carried_there():
    rng = np.random.default_rng(9)
    config = replace(CONFIG, least=10)
    classes = ("p", "q", "r")
    problem = np.repeat(np.arange(30), 4)
    made = []
    for name, known in (("a", 3), ("b", 2)):
        of = rng.integers(0, known, 120)
        x = torch.tensor(rng.normal(size=(120, 6)) + 3 * np.eye(3, 6)[of], dtype=torch.float32)
        asked = ask_domains(labelled(of, [f"{name}{p}" for p in problem], name, classes), config)[0]
        made.append((asked, x, fit_layer(x, asked.columns, asked.fold, *solver_of(config))))
    assert [asked.names() for asked, _, _ in made] == [("p", "q", "r"), ("p", "q")]
    problems = np.unique(np.concatenate([asked.labels.problem for asked, _, _ in made]).astype(str))
    a, b = (part_of(asked, x, fit, 3, problems) for asked, x, fit in made)
    assert askable(a, b) == askable(b, a) == [0, 1] and askable(a, a) == [0, 1, 2]
    assert b.coef.shape == (3, 6) and not b.coef[2].any() and not b.labels[:, 2].any()
    np.testing.assert_array_equal(a.coef, made[0][2].coef[0])
    want = np.mean([roc_auc_score(b.labels[:, q], b.x.numpy() @ a.coef[q]) for q in (0, 1)])
    assert transfer_auroc(a, b, [0, 1]).value == pytest.approx(want) and want > 0.9


def test_whitened_cosine_is_the_correlation_of_the_read_outs():
    rng = np.random.default_rng(10)
    x = rng.normal(size=(500, 5)) @ rng.normal(size=(5, 5)) * (1, 1, 100, 1, 1)
    a, b = rng.normal(size=(2, 3, 5))
    got = whitened_cosine(a, b, np.cov(x, rowvar=False))
    np.testing.assert_allclose(got, [np.corrcoef(x @ a[i], x @ b[i])[0, 1] for i in range(3)])
    values, vectors = np.linalg.eigh(np.cov(x, rowvar=False))
    root = vectors * np.sqrt(values) @ vectors.T
    u, v = root @ a[0], root @ b[0]
    assert got[0] == pytest.approx(u @ v / np.linalg.norm(u) / np.linalg.norm(v))
    assert np.isnan(whitened_cosine(a[0], np.zeros(5), np.eye(5)))


def test_the_pooled_covariance_gives_each_domain_equal_weight():
    rng = np.random.default_rng(11)
    xs = [torch.tensor(rng.normal(3 * i, 1 + i, (50 * (1 + 3 * i), 4)), dtype=torch.float32) for i in range(2)]
    parts = [Part(x, None, None, 0, None, None, None, None) for x in xs]
    want = (np.cov(xs[0].numpy().T) + np.cov(xs[1].numpy().T)) / 2
    np.testing.assert_allclose(pooled_covariance(parts), want, rtol=1e-4, atol=1e-6)
