"""LEACE against its definition, scikit-learn, and other projections that remove the same label."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from dsl_probe.probe.erase import Eraser, LeaceFitter, leace, one_hot, placebo_eraser
from dsl_probe.types import UserError

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.usefixtures("one_thread")
N, D = 600, 12


def states(k: int, seed: int = 0, n: int = N, d: int = D) -> tuple[np.ndarray, np.ndarray]:
    """Correlated states [n, d], in which class c of k moves the mean along a direction of its own."""
    rng = np.random.default_rng(seed)
    of = rng.integers(0, k, n)
    x = rng.standard_normal((n, d)) @ rng.standard_normal((d, d)) + rng.standard_normal((k, d))[of] * 2 + 3
    return x, of


def cross(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Correlations of the columns of x and z."""
    return (x - x.mean(0)).T @ (z - z.mean(0)) / len(x) / x.std(0)[:, None] / z.std(0)


def erased(x: np.ndarray, z: np.ndarray) -> np.ndarray:
    return leace(x, z)(torch.from_numpy(x)).numpy()


@pytest.mark.parametrize("k", [2, 3, 7])
def test_no_covariance_with_any_class_is_left(k):
    x, of = states(k)
    z = np.eye(k)[of]
    assert np.abs(cross(x, z)).max() > 0.1
    assert np.abs(cross(erased(x, of), z)).max() < 1e-12
    assert leace(x, of).rank == k - 1


@pytest.mark.parametrize("k", [2, 4])
def test_logistic_regression_finds_nothing_on_erased_states(k):
    x, of = states(k)
    before = LogisticRegression(C=1e6, tol=1e-10, max_iter=5_000).fit(x, of)
    assert before.score(x, of) > np.bincount(of).max() / N + 0.15
    # Centred: erased states do not vary in k - 1 directions, which would else stand in for the intercept.
    left = erased(x, of) - x.mean(0)
    after = LogisticRegression(C=1e6, tol=1e-10, max_iter=5_000).fit(left, of)
    assert np.linalg.norm(after.coef_) < 1e-4
    assert after.score(left, of) == np.bincount(of).max() / N
    # Coefficients are rounding, and so would ranks be: all scores agree to 1e-3.
    for c, p in enumerate(after.predict_proba(left).round(3).T):
        assert roc_auc_score(of == c, p) == 0.5


def test_it_is_the_formula_of_the_paper():
    x, of = states(3)
    mean, z = x.mean(0), np.eye(3)[of]
    values, vectors = np.linalg.eigh(np.cov(x.T, bias=True))
    w = vectors @ np.diag(values**-0.5) @ vectors.T
    told = w @ (x - mean).T @ (z - z.mean(0)) / N
    p = told @ np.linalg.pinv(told, rcond=1e-10)
    expected = x - (x - mean) @ (np.linalg.inv(w) @ p @ w).T
    assert np.allclose(erased(x, of), expected, atol=1e-10)
    change = ((expected - x) ** 2).sum(1).mean()
    fitter = LeaceFitter(D, 3).update(x, z)
    assert fitter.mean_squared_change(fitter.eraser()) == pytest.approx(change, rel=1e-9)


def test_erasing_twice_is_erasing_once():
    x, of = states(3)
    eraser = leace(x, of)
    once = eraser(torch.from_numpy(x))
    assert torch.allclose(eraser(once), once, atol=1e-12)
    assert leace(once, of).rank == 0, "nothing is left to be erased"


def test_no_other_projection_that_removes_the_label_changes_less():
    x, of = states(2)
    mean, covariance = x.mean(0), np.cov(x.T, bias=True)
    delta = x[of == 1].mean(0) - x[of == 0].mean(0)
    rng = np.random.default_rng(1)
    norms = [np.linalg.inv(covariance), np.eye(D), np.diag(rng.uniform(0.1, 10, D))]

    def change(after: np.ndarray, norm: np.ndarray) -> float:
        return float(np.einsum("ni,ij,nj->n", after - x, norm, after - x).mean())

    least = [change(erased(x, of), norm) for norm in norms]
    assert least[0] == pytest.approx(1.0), "in the Mahalanobis norm it takes out one whitened direction"
    ways = [delta, *rng.standard_normal((200, D)), *(covariance @ rng.standard_normal((D, 20))).T]
    ways += [np.linalg.solve(covariance, delta) + 0.1 * v for v in rng.standard_normal((20, D))]
    for way in ways:  # the orthogonal projection on the mean difference first, then oblique ones
        other = x - np.outer((x - mean) @ way, delta) / (way @ delta)
        assert np.abs(cross(other, of[:, None])).max() < 1e-9
        assert all(change(other, norm) >= mine * (1 - 1e-9) for norm, mine in zip(norms, least, strict=True))


def test_batches_and_merged_fitters_give_what_all_at_once_gives():
    x, of = states(4)
    z = one_hot(of, 4)
    whole = LeaceFitter(D, 4).update(x, z)
    streamed, first, second = LeaceFitter(D, 4), LeaceFitter(D, 4), LeaceFitter(D, 4)
    for start, stop in ((0, 1), (1, 7), (7, 7), (7, 400), (400, N)):
        streamed.update(x[start:stop], z[start:stop])
        (first if start < 7 else second).update(x[start:stop], z[start:stop])
    for other in (streamed, first.merge(second), LeaceFitter(D, 4).merge(whole), whole.merge(LeaceFitter(D, 4))):
        assert other.n == N
        assert torch.allclose(other.covariance, whole.covariance, rtol=1e-12, atol=1e-12)
        assert torch.allclose(other.cross_covariance, whole.cross_covariance, atol=1e-12)
        got, want = other.eraser(), whole.eraser()
        assert torch.allclose(got.proj_left @ got.proj_right, want.proj_left @ want.proj_right, atol=1e-9)
        assert torch.allclose(got.bias, want.bias, atol=1e-12)
    assert np.allclose(whole.covariance, np.cov(x.T, bias=True))
    assert np.allclose(whole.cross_covariance, (x - x.mean(0)).T @ (z.numpy() - z.numpy().mean(0)) / N)


def test_real_labels_are_erased_too():
    x, _ = states(2)
    z = x[:, :2] @ np.array([[1.0, 0.5], [0.0, 2.0]]) + np.random.default_rng(2).standard_normal((N, 2))
    after = erased(x, z)
    assert np.abs(cross(after, z)).max() < 1e-12
    assert np.allclose(np.linalg.lstsq(after - after.mean(0), z - z.mean(0), rcond=None)[0], 0, atol=1e-9)
    assert leace(x, z[:, 0]).rank == 1


def test_a_label_that_the_states_do_not_hold_leaves_them_alone():
    x, _ = states(2)
    rng = np.random.default_rng(3)
    z = rng.standard_normal(N)
    around = np.c_[np.ones(N), x]
    z -= around @ np.linalg.lstsq(around, z, rcond=None)[0]
    eraser = leace(x, z)
    assert eraser.rank == 0 and torch.equal(eraser(torch.from_numpy(x)), torch.from_numpy(x))
    # A label drawn by chance has a chance covariance, and that is one direction of D.
    changes = [((erased(x, rng.integers(0, 2, N)) - x) ** 2).sum(1).mean() for _ in range(50)]
    shares = np.array(changes) / x.var(0).sum()
    assert 0.3 / D < np.mean(shares) < 3 / D


def test_states_that_fill_a_subspace_alone_stay_in_it():
    x, of = states(3, d=5)
    rng = np.random.default_rng(4)
    wide = np.c_[x @ rng.standard_normal((5, 30)), np.full(N, 7.0), np.zeros(N)]
    after = erased(wide, of)
    assert np.abs((after - after.mean(0)).T @ (np.eye(3)[of] - np.eye(3)[of].mean(0))).max() / N < 1e-9
    assert np.linalg.matrix_rank(after - after.mean(0), tol=1e-6) == 3
    assert np.allclose(after[:, 30:], wide[:, 30:])
    few = erased(*states(2, n=8, d=30))
    assert np.isfinite(few).all()


def test_a_massive_dimension_does_not_cost_the_others_their_digits():
    x, of = states(3)
    scale = np.ones(D)
    scale[5] = 1e6
    massive = x * scale + np.eye(D)[5] * 2e7
    assert np.allclose(erased(massive, of) / scale, erased(x, of) + np.eye(D)[5] * 20, atol=1e-6)
    single = leace(massive, of)(torch.from_numpy(massive).float()).double().numpy()
    kept = np.arange(D) != 5
    assert np.abs(cross(single, np.eye(3)[of])[kept]).max() < 1e-3


def test_the_dtype_and_shape_of_states_are_kept():
    x, of = states(2)
    eraser = leace(x, of)
    for dtype in (torch.bfloat16, torch.float16, torch.float32, torch.float64):
        got = eraser(torch.from_numpy(x[:6]).to(dtype).reshape(2, 3, D))
        assert got.dtype == dtype and got.shape == (2, 3, D)
        assert torch.allclose(got.double().reshape(6, D), eraser(torch.from_numpy(x[:6])), rtol=0.02, atol=0.2)
    # Labels of float32 states erase float32 states.
    single = torch.from_numpy(x).float()
    assert np.abs(cross(leace(single, of)(single).double().numpy(), np.eye(2)[of])).max() < 1e-6


def test_an_eraser_is_read_as_it_was_written(tmp_path):
    x, of = states(3)
    eraser = leace(x, of)
    eraser.save(tmp_path / "e.safetensors")
    again = Eraser.load(tmp_path / "e.safetensors")
    assert torch.equal(again(torch.from_numpy(x)), eraser(torch.from_numpy(x)))
    with pytest.raises(UserError, match="there is no eraser"):
        Eraser.load(tmp_path / "other")


@pytest.mark.parametrize("shrinkage", [0.1, 1.0])
def test_shrinkage_erases_as_well_and_changes_fewer_states_that_were_not_seen(shrinkage):
    x, of = states(2, n=2_000 + 18)
    seen, fresh = slice(0, 18), slice(18, None)
    z = np.eye(2)[of]
    plain, shrunk = leace(x[seen], of[seen]), leace(x[seen], of[seen], shrinkage=shrinkage)
    assert shrunk.rank == 1
    assert np.abs(cross(shrunk(torch.from_numpy(x[seen])).numpy(), z[seen])).max() < 1e-12
    changes = [((e(torch.from_numpy(x)).numpy() - x) ** 2).sum(1) for e in (plain, shrunk)]
    assert changes[0][seen].mean() < changes[1][seen].mean(), "no eraser changes the sample less than the paper's"
    assert changes[0][fresh].mean() > changes[1][fresh].mean()
    with pytest.raises(UserError, match="from 0"):
        leace(x, of, shrinkage=2)


@pytest.mark.parametrize("shrinkage", [0.0, 0.2])
@pytest.mark.parametrize("k", [2, 4])
def test_a_placebo_is_as_large_and_leaves_the_label_alone(k, shrinkage):
    x, of = states(k)
    z = one_hot(of, k)
    fitter = LeaceFitter(D, k).update(x, z)
    true = fitter.eraser(shrinkage=shrinkage)
    change = ((true(torch.from_numpy(x)).numpy() - x) ** 2).sum(1).mean()
    before = cross(x, z.numpy())
    for seed in range(5):
        placebo = placebo_eraser(fitter, seed, shrinkage=shrinkage)
        after = placebo(torch.from_numpy(x)).numpy()
        assert placebo.rank == true.rank == k - 1
        assert ((after - x) ** 2).sum(1).mean() == pytest.approx(change, rel=1e-9)
        assert np.allclose((after - x).T @ (z.numpy() - z.numpy().mean(0)) / N, 0, atol=1e-9)
    assert np.abs(before).max() > 0.1
    one, same, other = (placebo_eraser(fitter, seed).proj_right for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.allclose(one, other)


@pytest.mark.parametrize("shrinkage", [0.0, 0.5])
def test_placebos_are_drawn_as_shuffled_labels_draw_them(shrinkage):
    """Which directions of whitened states are hit, on average: without shrinkage all alike."""
    x, of = states(2, d=4)
    x *= [1, 1, 4, 4]
    fitter = LeaceFitter(4, 2).update(x, one_hot(of, 2))
    covariance = np.cov(x.T, bias=True)
    w = np.linalg.inv(np.linalg.cholesky((1 - shrinkage) * covariance + shrinkage * np.diag(np.diag(covariance))))
    rng = np.random.default_rng(5)

    def outer(directions) -> np.ndarray:
        units = directions / np.linalg.norm(directions, axis=1)[:, None]
        return units.T @ units / len(units)

    def hit(erasers: list[Eraser]) -> np.ndarray:
        return np.stack([e.proj_right.numpy()[0] @ np.linalg.inv(w) for e in erasers])

    chance = rng.standard_normal((20_000, 4)) @ (w @ np.linalg.cholesky(covariance)).T
    shuffled = outer(hit([leace(x, rng.permutation(of), shrinkage=shrinkage) for _ in range(600)]))
    assert np.allclose(shuffled, outer(chance), atol=0.06)
    assert np.allclose(outer(chance), np.eye(4) / 4, atol=0.06) == (shrinkage == 0)
    true = outer(hit([fitter.eraser(shrinkage=shrinkage)]))
    placebo = outer(hit([placebo_eraser(fitter, s, shrinkage=shrinkage) for s in range(600)]))
    assert np.allclose(placebo, outer(chance @ (np.eye(4) - true)), atol=0.06)


def test_arguments_that_do_not_fit_are_named():
    x, of = states(2)
    with pytest.raises(UserError, match=r"needed are \[n, 12\] and \[n, 3\]"):
        LeaceFitter(D, 3).update(x, one_hot(of, 2))
    with pytest.raises(UserError, match="classes run from 0 to 1"):
        one_hot(np.array([0, 2]), 2)
    with pytest.raises(UserError, match="2 or more"):
        LeaceFitter(D, 2).eraser()
    with pytest.raises(UserError, match="width 12"):
        leace(x, of)(torch.zeros(2, 3))
    with pytest.raises(UserError, match="no room"):
        placebo_eraser(LeaceFitter(3, 3).update(x[:, :3], np.eye(3)[of + (x[:, 0] > 3)]), 0)
    with pytest.raises(UserError, match="does not fit"):
        LeaceFitter(D, 2).merge(LeaceFitter(D, 3))
