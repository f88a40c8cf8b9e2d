"""Whether one model is better than another over repeated fits, when the fits share training records."""

from collections.abc import Sequence

import numpy as np
from scipy import stats


def corrected_t(differences: Sequence[float], n_train: int, n_test: int) -> float | None:
    """Two-sided p of a paired t-test whose variance allows for shared training records; None of fewer than 2 pairs.

    Folds of one table overlap in training, so that their differences are no independent sample: the variance of the
    mean is taken as (1/k + n_test/n_train) s² instead of s²/k. All differences equal: p is 1 if they are 0, else 0.

    Parameters
    ----------
    differences : one a pair (k of them)
    n_train, n_test : records of one fit and of its test; n_test = 0 gives the plain paired t-test

    Source: Nadeau & Bengio 2003, "Inference for the generalization error", section 3.
    """
    d = np.asarray(differences, dtype=np.float64)
    k = len(d)
    if k < 2 or n_train <= 0:
        return None
    mean = d.mean()
    error = float(np.sqrt((1 / k + n_test / n_train) * d.var(ddof=1)))
    if error <= 1e-15 * max(1.0, abs(float(mean))):
        return 1.0 if abs(mean) <= 1e-15 else 0.0
    return float(2 * stats.t.sf(abs(mean) / error, k - 1))


def wilcoxon(differences: Sequence[float]) -> float | None:
    """Two-sided p of the signed-rank test; pairs without a difference are left out; 1 where none differs.

    None of no pairs. Exact up to 50 pairs without ties, else the normal approximation. It takes pairs for
    independent, which folds are not: beside `corrected_t` it is the more hopeful of the two.
    """
    d = np.asarray(differences, dtype=np.float64)
    if not len(d):
        return None
    d = d[d != 0]
    if not len(d):
        return 1.0
    tied = len(np.unique(np.abs(d))) < len(d)
    method = "exact" if len(d) <= 50 and not tied else "approx"
    return float(stats.wilcoxon(d, zero_method="wilcox", method=method).pvalue)


def holm(pvalues: Sequence[float | None]) -> list[float | None]:
    """p-values adjusted for having tested several, in the order given; None stays None and does not count.

    Source: Holm 1979: the i-th smallest of m is multiplied by m − i + 1, never below the one before it, at most 1.
    """
    tested = sorted((p, index) for index, p in enumerate(pvalues) if p is not None)
    adjusted: list[float | None] = [None] * len(pvalues)
    before = 0.0
    for rank, (p, index) in enumerate(tested):
        before = max(before, min(1.0, p * (len(tested) - rank)))
        adjusted[index] = before
    return adjusted
