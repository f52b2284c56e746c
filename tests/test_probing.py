"""What probing finds where the truth is planted: directions, noise, labels that leak, layers of noise."""

from dataclasses import replace

import numpy as np
import pytest
from probing import CONFIG, fitted, holds_half, judged, labelled, unit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from dsl_probe.probe import controls, metrics
from dsl_probe.probe.asked import ask_domains
from dsl_probe.probe.grouped import Shares, within_folds
from dsl_probe.probe.measures import answers
from dsl_probe.probe.solvers import PROBE_NAMES, solver_of
from dsl_probe.probe.sweep import choose_layer, deal_folds, fit_layer
from dsl_probe.probe.targets import Target
from dsl_probe.types import UserError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")
SEEDS = 20
# Of 20 intervals at 95 % fewer than 16 hold the truth in 3 of 1,000 cases.
ENOUGH = 16


# ---- one domain


@pytest.mark.parametrize("probe", [*PROBE_NAMES, "sklearn.linear_model:LogisticRegression", "sklearn.svm:LinearSVC"])
def test_a_planted_direction_is_found(probe):
    rng = np.random.default_rng(0)
    problem, of = np.repeat(np.arange(60), 6), rng.integers(0, 2, 360)
    x = rng.normal(size=(360, 24))
    direction = unit(rng, 24)
    x += 5 * np.outer(of - 0.5, direction)
    part, fit = fitted(x, of, problem, replace(CONFIG, probe=probe))
    found = judged(part, fit)
    assert found.value >= 0.99 and found.interval()[0] > 0.97
    assert fit.coef is not None and fit.coef.shape == (6, 1, 24)
    cosine = fit.coef[:, 0] @ direction / np.linalg.norm(fit.coef[:, 0], axis=1)
    assert (cosine > 0.8).all()


def test_estimators_without_weights_are_judged_too():
    rng = np.random.default_rng(1)
    of = rng.integers(0, 2, 240)
    x = rng.normal(size=(240, 4)) + 4 * of[:, None]
    part, fit = fitted(x, of, np.repeat(np.arange(40), 6), replace(CONFIG, probe="sklearn.naive_bayes:GaussianNB"))
    assert fit.coef is None and judged(part, fit).value >= 0.99
    with pytest.raises(UserError, match=r"'sklearn.naive_bayes:Nothing' is unknown .*known are logistic"):
        solver_of(replace(CONFIG, probe="sklearn.naive_bayes:Nothing"))
    with pytest.raises(UserError, match="needs fit, and decision_function or predict_proba"):
        solver_of(replace(CONFIG, probe="sklearn.cluster:KMeans"))


@pytest.mark.parametrize(("rows", "d"), [(4, 4), (6, 16), (2, 60)])
def test_noise_tells_nothing(rows, d):
    held, narrow = [], []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        problem = np.repeat(np.arange(50), rows)
        found = judged(*fitted(rng.normal(size=(len(problem), d)), rng.integers(0, 2, len(problem)), problem))
        held.append(holds_half(found))
        narrow.append(holds_half(Shares(found.value, found.of / np.sqrt(2))))
    # Of 100 intervals at 95 % fewer than 88 hold the truth in 2 of 1,000 cases. Folds are not independent.
    assert sum(held) >= 88 and sum(narrow) < sum(held) - 4


def test_a_label_that_is_constant_in_its_problem_is_not_told_by_the_problem():
    """States know their problem and nothing of the label: folds of problems say .5, folds of rows would say 1."""
    held, by_rows = [], []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        problem = np.repeat(np.arange(50), 6)
        of = rng.permutation(np.arange(50) % 2)[problem]
        x = rng.normal(size=(300, 60)) + 4 * rng.normal(size=(50, 60))[problem]
        part, fit = fitted(x, of, problem)
        held.append(holds_half(judged(part, fit)))
        rows = replace(part, fold=rng.permutation(np.arange(300) % 5))
        solver, strengths = solver_of(CONFIG)
        wrong = fit_layer(torch.tensor(x, dtype=torch.float32), part.columns, rows.fold, solver, strengths)
        by_rows.append(judged(rows, wrong).value)
    assert sum(held) >= ENOUGH
    assert np.mean(by_rows) > 0.97


def test_a_layer_is_chosen_and_judged_as_scikit_learn_would_one_fit_after_another():
    rng = np.random.default_rng(2)
    problem, of = np.repeat(np.arange(24), 8), rng.integers(0, 2, 192)
    layers = [rng.normal(size=(192, 5)) + pull * of[:, None] for pull in (0.0, 0.4, 0.2)]
    config = replace(CONFIG, folds=4, strengths=(1e-3, 1e-2, 1.0))
    found = [fitted(x, of, problem, config) for x in layers]
    part, fits = found[0][0], [fit for _, fit in found]

    def auroc_of(x, out, test, strength):
        train = ~np.isin(part.fold, out)
        scale = StandardScaler().fit(x[train])
        fit = LogisticRegression(C=strength, tol=1e-8).fit(scale.transform(x[train]), of[train])
        scores = fit.decision_function(scale.transform(x[part.fold == test]))
        return roc_auc_score(of[part.fold == test], scores), scores

    inner = np.zeros((3, 4, 3))
    for k, x in enumerate(layers):
        for o in range(4):
            for c, strength in enumerate(config.strengths):
                inner[k, o, c] = np.mean([auroc_of(x, (o, i), i, strength)[0] for i in range(4) if i != o])
        np.testing.assert_allclose(fits[k].inner, inner[k], atol=3e-3)
        for o in range(4):
            scores = auroc_of(x, (o,), o, config.strengths[fits[k].strength[o]])[1]
            np.testing.assert_allclose(fits[k].scores[part.fold == o, 0], scores, atol=0.02)
            weighed = x @ fits[k].coef[1 + o, 0] + fits[k].intercept[1 + o, 0]
            np.testing.assert_allclose(weighed[part.fold == o], fits[k].scores[part.fold == o, 0], atol=1e-4)
        assert fits[k].strength.tolist() == fits[k].inner.argmax(1).tolist()
        assert fits[k].final == fits[k].inner.mean(0).argmax()
    choice = choose_layer(fits, part.fold)
    assert choice.layers.tolist() == inner.max(2).argmax(0).tolist() and choice.layer == 1
    for o, layer in enumerate(choice.layers):
        assert (choice.scores[part.fold == o] == fits[layer].scores[part.fold == o]).all()


def test_the_nested_choice_among_layers_of_noise_is_not_optimistic():
    held, nested, best = [], [], []
    for seed in range(SEEDS):
        rng = np.random.default_rng(seed)
        problem, of = np.repeat(np.arange(40), 4), rng.integers(0, 2, 160)
        found = [fitted(rng.normal(size=(160, 8)), of, problem) for _ in range(12)]
        part, fits = found[0][0], [fit for _, fit in found]
        choice = choose_layer(fits, part.fold)
        shares = within_folds(choice.scores, part.columns, part.fold, part.problem)
        held.append(holds_half(shares))
        nested.append(shares.value)
        best.append(max(judged(part, fit).value for fit in fits))
    assert sum(held) >= ENOUGH
    # The best layer of the very scores that judge it looks as if it told something; the nested choice does not.
    assert np.mean(best) > 0.55
    assert abs(np.mean(nested) - 0.5) < 3 * np.std(nested) / np.sqrt(SEEDS)


def test_folds_never_divide_a_problem_and_are_of_equal_size():
    rng = np.random.default_rng(3)
    for k in (3, 5, 7):
        problem = np.array([f"p{i}" for i in rng.integers(0, 40, 500)], object)
        fold = deal_folds(problem, k, seed=k)
        of = {p: set(fold[problem == p]) for p in set(problem)}
        assert all(len(folds) == 1 for folds in of.values())
        sizes = np.bincount([folds.pop() for folds in of.values()], minlength=k)
        assert sizes.max() - sizes.min() <= 1
        assert (deal_folds(problem[::-1], k, seed=k) == fold[::-1]).all()
        assert (deal_folds(problem, k, seed=k + 1) != fold).any()


# ---- controls


def named(i: int) -> str:
    """A word of letters alone for each number."""
    return "".join(chr(ord("a") + int(digit)) for digit in str(i))


def written(rng, traces=60, words=12, kinds=80):
    """Traces of random words with a state after each; label is set later. Texts, and what the states have read."""
    names = np.array([named(i) for i in range(kinds)])
    said = rng.integers(0, kinds, (traces, words))
    texts = {t: " ".join(names[row]) for t, row in enumerate(said)}
    read = np.stack([np.cumsum([len(w) + 1 for w in names[row]]) - 1 for row in said])
    length = np.repeat([len(texts[t]) for t in range(traces)], words)
    more = {"trace_row": np.repeat(np.arange(traces), words).astype(np.int32), "read": read.ravel().astype(np.int32)}
    return said.ravel(), texts, more | {"length": length.astype(np.int32)}


def accuracies(x, labels):
    """Accuracy of the probe, and on the control task."""
    part, fit = fitted_labels(x, labels)
    columns = part.ask(controls.control_task(part.labels, controls.token_types(part.labels, x["texts"]), 0))
    other = fit_layer(x["states"], columns, part.fold, *solver_of(CONFIG))
    return metrics.accuracy(*answers(fit.scores, part.columns)), metrics.accuracy(*answers(other.scores, columns))


def fitted_labels(x, labels):
    part = ask_domains(labels, CONFIG)[0]
    return part, fit_layer(x["states"], part.columns, part.fold, *solver_of(CONFIG))


def test_a_label_that_leaks_through_the_token_has_no_selectivity_and_a_true_state_has():
    rng = np.random.default_rng(4)
    said, texts, more = written(rng)
    token = rng.normal(size=(80, 12))[said]
    problem = np.repeat(np.arange(60), 12)
    leaking = rng.integers(0, 2, 80)[said]
    true = rng.integers(0, 2, len(said))
    x = token + 8 * np.outer(true - 0.5, unit(rng, 12)) + 0.1 * rng.normal(size=token.shape)
    given = {"states": torch.tensor(x, dtype=torch.float32), "texts": texts}
    leaked, as_easy = accuracies(given, labelled(leaking, problem, **more))
    assert leaked > 0.65 and leaked - as_easy < 0.1
    told, control = accuracies(given, labelled(true, problem, **more))
    assert told > 0.97 and told - control > 0.2


def test_the_control_task_gives_every_type_one_class_as_often_as_the_classes_are():
    rng = np.random.default_rng(5)
    said, texts, more = written(rng, traces=400, kinds=2_000)
    labels = labelled(rng.random(len(said)) < 0.2, said, **more)
    types = controls.token_types(labels, texts)
    assert types.tolist() == [named(i) for i in said]
    of = controls.control_task(labels, types, 1)
    assert all(len(set(of[said == kind])) == 1 for kind in set(said.tolist()))
    assert of.mean() == pytest.approx(0.2, abs=0.03)
    start = labelled([0], [0], trace_row=np.zeros(1, np.int32), read=np.zeros(1, np.int32))
    assert controls.token_types(start, {0: "so it is"}).tolist() == [""]


def test_the_bag_holds_every_whole_unit_that_was_read():
    rng = np.random.default_rng(6)
    said, texts, more = written(rng, traces=7, words=9, kinds=5)
    order = rng.permutation(len(said))
    labels = labelled(said % 2, said, **more).part(order)
    cut = replace(labels, read=np.maximum(labels.read - rng.integers(0, 2, len(said)), 0).astype(np.int32))
    bag = np.expm1(controls.bag_features(cut, texts))
    held = {w: sum(w in text.split() for text in texts.values()) for w in map(named, range(5))}
    columns = sorted(held, key=lambda w: (-held[w], w))
    for row, trace, read in zip(bag, cut.trace_row, cut.read, strict=True):
        text, whole = texts[trace], texts[trace][:read]
        cut_off = read < len(text) and " " not in (text[read], whole[-1:])
        words = whole.split()[:-1] if cut_off else whole.split()
        np.testing.assert_allclose(row, [words.count(w) for w in columns], atol=1e-5)
    assert controls.bag_features(cut, texts, most=2).shape == (len(said), 2)
    place = controls.place_features(cut)
    np.testing.assert_allclose(np.expm1(place[:, 0]), cut.read, rtol=1e-5)
    np.testing.assert_allclose(place[:, 2], cut.read / cut.length, rtol=1e-5)


def test_shuffled_labels_keep_their_counts_and_nothing_else():
    """Of a label that is constant in its domain too: within domains it would stay what it is."""
    labels = labelled(np.arange(400) < 100, np.arange(400))
    labels.domain[:100] = "y"
    of = controls.shuffled(labels, 0)
    assert of.sum() == 100 and 10 < of[:100].sum() < 40


# ---- what is asked


def test_a_domain_is_asked_where_it_has_enough_and_problems_are_drawn_whole():
    rng = np.random.default_rng(12)
    problem = np.repeat(np.arange(100), rng.integers(1, 9, 100))
    labels = labelled(rng.integers(0, 2, len(problem)), problem)
    labels.domain[problem < 5] = "few"
    found = ask_domains(labels, replace(CONFIG, most_rows=150))
    assert [part.domain for part in found] == ["x"]
    part = found[0]
    assert 140 < len(part.labels) <= 150
    kept = set(part.labels.problem)
    assert all((labels.problem == p).sum() == (part.labels.problem == p).sum() for p in kept)
    again = ask_domains(labels, replace(CONFIG, most_rows=150))[0]
    assert (again.labels.rows == part.labels.rows).all()
    assert len(ask_domains(labels, replace(CONFIG, most_rows=0))[0].labels) == (problem >= 5).sum()
    with pytest.raises(UserError, match="no domain has two classes of 9999 states and 10 problems"):
        ask_domains(labels, replace(CONFIG, least=9_999))


def test_what_tells_domains_apart_is_asked_over_all_of_them():
    of = np.repeat([0, 1], 60)
    labels = replace(labelled(of, np.arange(120)), target=Target("domain", "domain", "", ()))
    labels.domain[60:] = "y"
    assert [part.domain for part in ask_domains(labels, CONFIG)] == ["all"]
