"""Published values beside those of this package, equal to the printed digits or the script fails.

python experiments/calibration/published.py   -> PUBLISHED.md
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from intervals import table
from scipy import sparse

from dsl_probe.collect.curve import pass_at_k
from dsl_probe.collect.steps import fisher, newcombe, wilson
from dsl_probe.share.hill import coverage_at, hill, hill_asymptotic, hill_at_size
from dsl_probe.share.signflip import signflip_p
from dsl_probe.share.vocab import chao1, chao_jaccard, chao_sorensen, good_coverage

CHAO_A, CHAO_B = (1, 0, 4, 3, 5, 0, 0, 7), (2, 1, 3, 0, 0, 1, 0, 6)
SPIDERS = {
    "girdled": [46, 22, 17, 15, 15, 9, 8, 6, 6, 4, 2, 2, 2, 2] + [1] * 12,
    "logged": [88, 22, 16, 15, 13, 10, 8, 8, 7, 7, 7, 5, 4, 4, 4, 3, 3, 3, 3, 2, 2, 2, 2] + [1] * 14,
}
# Darwin's maize: crossed less self-fertilised plants, in eighths of an inch.
MAIZE = (49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48)


class Check(NamedTuple):
    """What is computed, where it is printed, as it is printed, and what this package gives."""

    what: str
    source: str
    printed: str
    ours: float

    @property
    def rounded(self) -> str:
        """Ours, to the digits that are printed."""
        # Adding 0 turns a -0 that rounding may leave into 0.
        return f"{round(self.ours, decimals := len(self.printed.partition('.')[2])) + 0:.{decimals}f}"


def checks() -> Iterator[Check]:
    yield Check("Chao-Jaccard", "Chao et al. 2005, formula, by hand", "0.56995", chao_jaccard(CHAO_A, CHAO_B))
    yield Check("Chao-Sorensen", "Chao et al. 2005, formula, by hand", "0.72608", chao_sorensen(CHAO_A, CHAO_B))
    yield from spiders()
    yield from shares()
    p = float(signflip_p(sparse.csc_matrix(np.array(MAIZE, float)[:, None]))[0])
    yield Check(
        "sign flips, Darwin's maize, patterns of 32,768", "Fisher 1935, Design of Experiments", "1726", p * 2**15
    )
    yield Check("pass@1, 1 of 2 right", "Hugging Face evaluate, code_eval", "0.5", pass_at_k(2, 1, 1))
    yield Check("pass@2, 1 of 2 right", "Hugging Face evaluate, code_eval", "1.0", pass_at_k(2, 1, 2))


def spiders() -> Iterator[Check]:
    article, program = "Chao et al. 2014", "iNEXT 3, its example"
    for site, seen, total in (("girdled", "26", "43.893"), ("logged", "37", "61.403")):
        yield Check(f"spiders, {site}: species observed", article, seen, hill(SPIDERS[site], 0))
        yield Check(f"spiders, {site}: Chao1", article, total, chao1(SPIDERS[site]))
    for site, coverage, values in (
        ("girdled", "0.9289", ("12.060", "13.826", "7.840", "8.175")),
        ("logged", "0.9446", ("14.421", "16.337", "6.761", "6.920")),
    ):
        counts = SPIDERS[site]
        yield Check(f"spiders, {site}: sample coverage", program, coverage, good_coverage(counts))
        for q, observed, whole in ((1, *values[:2]), (2, *values[2:])):
            yield Check(f"spiders, {site}: Hill number q = {q}, observed", program, observed, hill(counts, q))
            yield Check(
                f"spiders, {site}: Hill number q = {q}, of the whole", program, whole, hill_asymptotic(counts, q)
            )
    girdled = SPIDERS["girdled"]
    yield Check("spiders, girdled: coverage at 300", "divent, vignette", "0.9579518", coverage_at(girdled, 300))
    for q, printed in enumerate(("33.317733", "12.869603", "7.983882")):
        what = f"spiders, girdled: Hill number q = {q} at 300"
        yield Check(what, "divent, vignette", printed, hill_at_size(girdled, q, 300))


def shares() -> Iterator[Check]:
    single, double = "Newcombe 1998, Statistics in Medicine 17:857", "Newcombe 1998, Statistics in Medicine 17:873"
    for right, n, low, high in (
        (81, 263, "0.2553", "0.3662"),
        (15, 148, "0.0624", "0.1605"),
        (1, 29, "0.0061", "0.1718"),
    ):
        for end, printed, ours in zip(("low", "high"), (low, high), wilson(right, n), strict=True):
            yield Check(f"Wilson interval, {right} of {n}, {end}", single, printed, ours)
    for b, n, a, m, low, high in (
        (56, 70, 48, 80, "0.0524", "0.3339"),
        (9, 10, 3, 10, "0.1705", "0.8090"),
        (5, 56, 0, 29, "-0.0381", "0.1926"),
    ):
        for end, printed, ours in zip(("low", "high"), (low, high), newcombe(a, m, b, n), strict=True):
            yield Check(f"difference of shares, {b}/{n} - {a}/{m}, {end}", double, printed, ours)
    yield Check(
        "Fisher's exact test, tea tasting, two-sided p", "R, fisher.test, TeaTasting", "0.4857", fisher(3, 4, 1, 4)
    )


def main() -> None:
    found = list(checks())
    rows = [[c.what, c.source, c.printed, c.rounded, "yes" if c.rounded == c.printed else "NO"] for c in found]
    same = sum(row[-1] == "yes" for row in rows)
    text = (
        "# Published values\n\nWritten by `python experiments/calibration/published.py`. Ours is rounded to the digits "
        f"that are printed; {same} of {len(rows)} are equal.\n\n"
        + table(["value", "source", "printed", "ours", "equal"], rows)
    )
    print(text)
    (Path(__file__).resolve().parent / "PUBLISHED.md").write_text(text)
    sys.exit(int(same < len(rows)))


if __name__ == "__main__":
    main()
