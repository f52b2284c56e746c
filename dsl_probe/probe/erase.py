"""LEACE: take a label out of states so that no linear probe finds it, changing them as little as can be.

Belrose, Schneider-Joseph, Ravfogel, Cotterell, Raff and Biderman 2023, "LEACE: Perfect linear concept erasure in closed
form" (arXiv 2306.03819). With W any matrix that whitens the states x, and U an orthonormal basis of the column space of
W cov(x, z), the eraser is x - W^+ U U' W (x - mean). It makes the covariance of x and the label z 0, which is the same
as that no linear predictor of z does better than a constant, and it is the affine map of least mean squared change that
does so, in every norm x' M x at once.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from dsl_probe.files import write_tensors
from dsl_probe.types import UserError

if TYPE_CHECKING:
    import numpy as np
    import torch

    Array: TypeAlias = "np.ndarray | torch.Tensor"

# Correlations of the label with whitened states below this are rounding: float32 states leave about 1e-7.
TOLERANCE = 1e-6
_PARTS = ("proj_left", "proj_right", "bias")


@dataclass(frozen=True)
class Eraser:
    """x -> x - proj_left @ (proj_right @ (x - bias)), for states [..., d] of any dtype, which is kept.

    proj_left: float64[d, k]; proj_right: float64[k, d]; bias: float64[d], the mean of the states that were fitted. k is
    the rank, 0 for an eraser that does nothing.

    >>> eraser = leace(torch.tensor([[0.0, 1.0], [2.0, 1.5]]).double(), torch.tensor([0, 1]))     # doctest: +SKIP
    >>> eraser(torch.tensor([[0.0, 1.0]]))                                                        # doctest: +SKIP
    tensor([[1.0000, 1.2500]])
    """

    proj_left: "torch.Tensor"
    proj_right: "torch.Tensor"
    bias: "torch.Tensor"

    def __call__(self, x: "torch.Tensor") -> "torch.Tensor":
        import torch

        if x.shape[-1] != len(self.bias):
            raise UserError(f"the eraser is for states of width {len(self.bias)}, and these have {x.shape[-1]}.")
        if not self.rank:
            return x
        kind = torch.float64 if x.dtype == torch.float64 else torch.float32
        left, right, bias = (part.to(device=x.device, dtype=kind) for part in self._parts())
        wide = x.to(kind)
        return (wide - (wide - bias) @ right.T @ left.T).to(x.dtype)

    @property
    def rank(self) -> int:
        """Directions that are erased."""
        return self.proj_left.shape[1]

    def save(self, path: Path) -> None:
        """Write it as safetensors."""
        write_tensors(path, {name: part.contiguous().cpu().numpy() for name, part in self._named()})

    @staticmethod
    def load(path: Path) -> "Eraser":
        """Read what `save` wrote."""
        from safetensors.torch import load_file

        if not Path(path).is_file():
            raise UserError(f"there is no eraser {path}; write one with Eraser.save.")
        found = load_file(path)
        if set(found) != set(_PARTS):
            raise UserError(f"{path} holds {', '.join(sorted(found))}; an eraser has {', '.join(_PARTS)}.")
        return Eraser(**found)

    def _named(self) -> "list[tuple[str, torch.Tensor]]":
        return list(zip(_PARTS, self._parts(), strict=True))

    def _parts(self) -> "tuple[torch.Tensor, torch.Tensor, torch.Tensor]":
        return self.proj_left, self.proj_right, self.bias


class LeaceFitter:
    """What LEACE needs of states and labels, gathered batch by batch: n, means and covariances, in float64.

    d: width of the states; k: numbers of a label. Memory: d x (d + k) numbers of 8 bytes. Batches and merges add up to
    what all states at once give, but for rounding (Chan, Golub and LeVeque 1983).

    >>> fitter = LeaceFitter(576, 10)                                                    # doctest: +SKIP
    >>> for x, of in batches: fitter.update(x, one_hot(of, 10))                          # doctest: +SKIP
    >>> eraser = fitter.eraser()                                                         # doctest: +SKIP
    """

    def __init__(self, d: int, k: int, device: str = "cpu"):
        import torch

        self.n = 0
        kind: dict[str, Any] = {"dtype": torch.float64, "device": device}
        self.mean_x, self.mean_z = torch.zeros(d, **kind), torch.zeros(k, **kind)
        self._xx, self._xz, self._zz = torch.zeros(d, d, **kind), torch.zeros(d, k, **kind), torch.zeros(k, **kind)

    def update(self, x: "Array", z: "Array") -> "LeaceFitter":
        """Take in states [n, d] with labels [n, k], or [n] where k is 1. Returns itself."""
        import torch

        x, z = (torch.as_tensor(part).to(self._xx) for part in (x, z))
        z = z[:, None] if z.ndim == 1 else z
        if x.ndim != 2 or z.ndim != 2 or len(x) != len(z) or (x.shape[1], z.shape[1]) != tuple(self._xz.shape):
            d, k = self._xz.shape
            raise UserError(f"states {list(x.shape)}, labels {list(z.shape)}; needed are [n, {d}] and [n, {k}].")
        if len(x):
            mean_x, mean_z = x.mean(0), z.mean(0)
            a, b = x - mean_x, z - mean_z
            self._add(len(x), mean_x, mean_z, a.T @ a, a.T @ b, (b * b).sum(0))
        return self

    def merge(self, other: "LeaceFitter") -> "LeaceFitter":
        """Take in what another fitter has gathered. Returns itself."""
        if other._xz.shape != self._xz.shape:
            raise UserError(f"a fitter of {list(other._xz.shape)} does not fit into one of {list(self._xz.shape)}.")
        parts = (other.mean_x, other.mean_z, other._xx, other._xz, other._zz)
        self._add(other.n, *(part.to(self._xx) for part in parts))
        return self

    @property
    def covariance(self) -> "torch.Tensor":
        """Of the states: float64[d, d]."""
        return self._xx / max(self.n, 1)

    @property
    def cross_covariance(self) -> "torch.Tensor":
        """Of states and labels: float64[d, k]."""
        return self._xz / max(self.n, 1)

    def mean_squared_change(self, eraser: Eraser) -> float:
        """Mean of |x' - x|^2 over the states that were gathered, in their units, if an eraser of their mean is used."""
        right = eraser.proj_right.to(self._xx)
        return float(((eraser.proj_left.to(self._xx) @ (right @ self.covariance @ right.T)) * eraser.proj_left).sum())

    def eraser(self, tolerance: float = TOLERANCE, shrinkage: float = 0.0) -> Eraser:
        """The eraser of what was gathered.

        tolerance: directions of whitened states whose correlation with the label is below it are left as they are.
        Directions in which the states do not vary cannot tell a label and are left out of the whitening.

        shrinkage: 0 is the paper's. Above, up to 1, the whitening is of covariances that are shrunk by so much towards
        the variances. On the states that were gathered the label is still gone to the last digit, and a little more is
        changed than must be. On others less of the label is left, and much less is changed, where there were few states
        a dimension: directions in which few states happen to vary little are else blown up. At 1.5 states a dimension
        of a model organism, placebos as large as the eraser in the sample were four times as large outside; with
        d / (d + n) they were as large within a tenth.

        What it does not show: that nothing tells the label any more. A non-linear reader may, and so may a linear one
        on states that the fit did not see. With n < d it erases everything that separates the sample.
        """
        whiten, colour = self._whitening(shrinkage)
        spread = (self._zz / max(self.n, 1)).sqrt()
        told = whiten @ self.cross_covariance / spread.clamp(min=1e-300)
        return _erasing(whiten, colour, _basis(told, tolerance), self.mean_x)

    def _whitening(self, shrinkage: float = 0.0) -> "tuple[torch.Tensor, torch.Tensor]":
        """W [m, d] with W cov W' = 1, cov shrunk, and its inverse on the space in which the states vary, [d, m].

        Any such W gives the same eraser. This one scales each dimension first: a few massive ones would else cost the
        others their digits.
        """
        import torch

        if self.n < 2:
            raise UserError(f"{self.n} states were given; an eraser needs 2 or more.")
        if not 0 <= shrinkage <= 1:
            raise UserError(f"shrinkage is {shrinkage}; it runs from 0 (none) to 1 (variances alone).")
        covariance = self.covariance
        scale = covariance.diagonal().sqrt()
        scale = torch.where(scale > 0, scale, torch.ones_like(scale))
        scaled = covariance / scale / scale[:, None]
        scaled = (1 - shrinkage) * scaled + shrinkage * torch.diag(scaled.diagonal())
        values, vectors = torch.linalg.eigh(scaled)
        kept = values > len(values) * torch.finfo(torch.float64).eps * values[-1]
        root, vectors = values[kept].sqrt(), vectors[:, kept]
        return (vectors / root).T / scale, vectors * root * scale[:, None]

    def _add(self, n: int, mean_x: Any, mean_z: Any, xx: Any, xz: Any, zz: Any) -> None:
        total = self.n + n
        if not n:
            return
        to_x, to_z, weight = mean_x - self.mean_x, mean_z - self.mean_z, self.n * n / total
        self._xx += xx + weight * to_x[:, None] * to_x
        self._xz += xz + weight * to_x[:, None] * to_z
        self._zz += zz + weight * to_z**2
        self.mean_x = self.mean_x + to_x * (n / total)
        self.mean_z = self.mean_z + to_z * (n / total)
        self.n = total


def leace(x: "Array", z: "Array", tolerance: float = TOLERANCE, shrinkage: float = 0.0) -> Eraser:
    """The eraser of a label from states [n, d]; see `LeaceFitter.eraser`.

    z: whole numbers [n], which are classes, or real labels [n] or [n, k].

    >>> leace(states, classes)(states)     # doctest: +SKIP
    """
    import torch

    x, z = torch.as_tensor(x), torch.as_tensor(z)
    if z.ndim == 1 and not z.is_floating_point():
        z = one_hot(z, int(z.max()) + 1 if len(z) else 1)
    fitter = LeaceFitter(x.shape[1], z.shape[1] if z.ndim == 2 else 1, str(x.device))
    return fitter.update(x, z).eraser(tolerance, shrinkage)


def one_hot(of: "Array", k: int) -> "torch.Tensor":
    """float64[n, k]: 1 in the column of each row's class, of int[n] in 0 .. k - 1."""
    import torch

    of = torch.as_tensor(of).long()
    if len(of) and not 0 <= int(of.min()) <= int(of.max()) < k:
        raise UserError(f"classes run from 0 to {k - 1}, and these from {int(of.min())} to {int(of.max())}.")
    return torch.nn.functional.one_hot(of, k).double()


def placebo_eraser(fitter: LeaceFitter, seed: int, tolerance: float = TOLERANCE, shrinkage: float = 0.0) -> Eraser:
    """An eraser of equal size that takes out something else: the placebo of `fitter.eraser(tolerance, shrinkage)`.

    A label that is shuffled over the states covaries with them by chance: its column of cov(x, z) is a normal draw with
    the covariance of the states. So as many such columns are drawn as the true label has directions; in whitened states
    at right angles to the true ones, so that the covariance of states and true label stays exactly as it is. The change
    is then scaled until its mean square over the states is that of the true eraser (above 1 it overshoots: what is
    erased comes back with the other sign).

    What it does not show: that an equal change does equal harm at random; one placebo is one draw, so look at several
    seeds. Nor are both as large on states that the fit did not see, where there were few a dimension; `shrinkage` mends
    most of that.
    """
    import torch

    whiten, colour = fitter._whitening(shrinkage)
    true = fitter.eraser(tolerance, shrinkage)
    told = true.proj_right @ colour  # U', since proj_right = U' W and W colour = 1
    _, varied = fitter._whitening()  # varied @ varied' is the covariance
    if 2 * true.rank > varied.shape[1]:
        raise UserError(
            f"the label takes {true.rank} of the {varied.shape[1]} dimensions in which the states vary; there is no "
            f"room for a placebo of the same rank. Take fewer classes or more states."
        )
    normal = torch.randn(varied.shape[1], true.rank, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    drawn = whiten @ varied @ normal.to(told)
    drawn -= told.T @ (told @ drawn)
    placebo = _erasing(whiten, colour, torch.linalg.qr(drawn).Q, fitter.mean_x)
    if not true.rank:
        return placebo
    size = (fitter.mean_squared_change(true) / fitter.mean_squared_change(placebo)) ** 0.5
    return Eraser(placebo.proj_left * size, placebo.proj_right, placebo.bias)


def _basis(told: "torch.Tensor", tolerance: float) -> "torch.Tensor":
    """Orthonormal basis [m, rank] of the column space of told [m, k]."""
    import torch

    u, s, _ = torch.linalg.svd(told, full_matrices=False)
    return u[:, s > tolerance]


def _erasing(whiten: "torch.Tensor", colour: "torch.Tensor", basis: "torch.Tensor", mean: "torch.Tensor") -> Eraser:
    return Eraser(colour @ basis, basis.T @ whiten, mean.clone())
