"""Two runs over the cases that both measured: paired differences, how sure they are."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import scipy
from numpy.typing import NDArray

from lnq.errors import UsageError
from lnq.evaluation.case_metrics import filled_assd
from lnq.evaluation.evaluation_record import EvaluationRecord
from lnq.evaluation.measures import (
    ASSD,
    ASSD_FILLED,
    DICE,
    FALSE_POSITIVES,
    HD95,
    NODE_F1,
    NSD,
    PRECISION,
    RECALL,
    Measure,
)
from lnq.evaluation.spread import Spread
from lnq.seeding import generator

_MEASURES = (
    DICE, ASSD_FILLED, ASSD, HD95, NSD, PRECISION, RECALL, NODE_F1, FALSE_POSITIVES,
)  # fmt: skip
COMPARED = {measure.column: measure for measure in _MEASURES}
"""What is compared, by its column."""

_RESAMPLES = 9999
_EXACT_UP_TO, _FLIPPED_UP_TO = 50, 13
_FEW = 10
"""Below so many pairs a bootstrap interval is plainly too narrow."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """One measure of two runs, B against A; a row of `comparison.csv`.

    Attributes:
        measure: Its column, a key of `COMPARED`.
        n: Cases that have it in both runs; only these count in what follows.
        n_undefined: Common cases where one of the runs, or both, has no such value.
        a_mean: Mean of A.
        a_sd: Its standard deviation, the population's.
        b_mean: Mean of B.
        b_sd: Its standard deviation.
        mean: Mean of B - A.
        low: Lower end of the bootstrap interval of that mean; None below two cases.
        high: Its upper end.
        median: Median of B - A.
        b_better: Cases in which B is better.
        b_worse: Cases in which B is worse.
        equal: Cases without a difference; the test leaves them out.
        p: Wilcoxon's signed-rank test of B - A, two-sided; None where no case differs.
        p_method: `exact`; `sign flips` (all of them, where differences tie); `normal` approximation
            with correction for ties and continuity.
    """

    measure: str
    n: int
    n_undefined: int
    a_mean: float | None
    a_sd: float | None
    b_mean: float | None
    b_sd: float | None
    mean: float | None
    low: float | None
    high: float | None
    median: float | None
    b_better: int
    b_worse: int
    equal: int
    p: float | None
    p_method: str | None


@dataclass(frozen=True)
class Comparison:
    """What `compare_runs` found; content of `comparison.json`.

    Attributes:
        n: Number of common cases.
        only_a: Cases that only A measured.
        only_b: Cases that only B measured.
        a_missing: Common cases with nodes in which A predicted no voxel.
        b_missing: The same of B.
        fill_mm: What stands for a missing ASSD in both runs; None where no case has one.
        differences: One per measure.
        notes: How far the numbers carry.
    """

    n: int
    only_a: list[str]
    only_b: list[str]
    a_missing: int
    b_missing: int
    fill_mm: float | None
    differences: list[Difference]
    notes: list[str]


def compare_runs(
    a: pd.DataFrame, b: pd.DataFrame, *, confidence: float = 0.95, seed: int = 0
) -> Comparison:
    """Compares two runs case by case, over their common cases.

    A missing ASSD is filled with the largest one of both runs over the common cases, so that it is
    the same for both; `assd_mm` compares the cases that have one in both runs beside it.

    Args:
        a: `metrics.csv` of one run, indexed by case.
        b: `metrics.csv` of the other.
        confidence: Of the bootstrap interval, in (0, 1).
        seed: Of the bootstrap.

    Raises:
        UsageError: They have no case in common.
    """
    common = a.index.intersection(b.index).sort_values()
    if common.empty:
        raise UsageError(
            "the runs have no case in common",
            why=f"cases are {', '.join(a.index[:3])}, ... against {', '.join(b.index[:3])}, ...",
            remedy="evaluate both on the same references",
        )
    first, second = a.loc[common].copy(), b.loc[common].copy()
    both = pd.concat([first, second])
    filled = filled_assd(both).to_numpy()
    first[ASSD_FILLED.column], second[ASSD_FILLED.column] = np.split(filled, 2)
    largest = both[ASSD.column].max()
    differences = [
        _difference(measure, first[name], second[name], confidence, seed)
        for name, measure in COMPARED.items()
    ]
    return Comparison(
        n=len(common),
        only_a=sorted(a.index.difference(common)),
        only_b=sorted(b.index.difference(common)),
        a_missing=_missing(first),
        b_missing=_missing(second),
        fill_mm=None if pd.isna(largest) else float(largest),
        differences=differences,
        notes=_notes(differences[0], confidence),
    )


def check_same_references(a: EvaluationRecord, b: EvaluationRecord) -> None:
    """Refuses to compare measures against different truths.

    Raises:
        UsageError: A case's reference is not the same in both.
    """
    ours, theirs = (
        {case: files.sha256.reference for case, files in record.cases.items()} for record in (a, b)
    )
    other = sorted(case for case in ours.keys() & theirs.keys() if ours[case] != theirs[case])
    if other:
        raise UsageError(
            f"{len(other)} cases were measured against different references",
            where=", ".join(other[:3]), remedy="evaluate both runs against the same folder",
        )  # fmt: skip


def wilcoxon(differences: Values) -> tuple[float | None, str | None]:
    """Two-sided p of Wilcoxon's signed-rank test, and how it was computed.

    Cases without a difference are left out, as Wilcoxon did. The distribution is exact up to 50
    differences without ties, and over all sign flips up to 13 with ties; else it is the normal
    approximation.

    Returns:
        p in (0, 1] and the method; None, None where nothing differs.
    """
    d = differences[differences != 0]
    if not len(d):
        return None, None
    tied = len(np.unique(np.abs(d))) < len(d)
    if not tied and len(d) <= _EXACT_UP_TO:
        return float(scipy.stats.wilcoxon(d, method="exact").pvalue), "exact"
    if tied and len(d) <= _FLIPPED_UP_TO:
        every = scipy.stats.PermutationMethod(n_resamples=2**_FLIPPED_UP_TO)
        return float(scipy.stats.wilcoxon(d, method=every).pvalue), "sign flips"
    return float(scipy.stats.wilcoxon(d, method="auto", correction=True).pvalue), "normal"


def bootstrap_interval(
    differences: Values, confidence: float, rng: np.random.Generator
) -> tuple[float | None, float | None]:
    """Interval of the mean difference by resampling cases (BCa).

    Returns:
        None, None below two cases; one point where all differences are equal.
    """
    if len(differences) < 2:
        return None, None
    if np.ptp(differences) == 0:
        return float(differences[0]), float(differences[0])
    interval = scipy.stats.bootstrap(
        (differences,), np.mean, n_resamples=_RESAMPLES, confidence_level=confidence, rng=rng
    ).confidence_interval
    return float(interval.low), float(interval.high)


def _difference(
    measure: Measure, a: pd.Series, b: pd.Series, confidence: float, seed: int
) -> Difference:
    defined = a.notna() & b.notna()
    first, second = a[defined].to_numpy(float), b[defined].to_numpy(float)
    change = second - first
    gain = change if measure.more_is_better else -change
    low, high = bootstrap_interval(change, confidence, generator(seed, "bootstrap", measure.column))
    p, p_method = wilcoxon(change)
    of_a, of_b, of_change = (Spread.of(values) for values in (first, second, change))
    return Difference(
        measure.column, len(change), int((~defined).sum()),
        of_a.mean, of_a.sd, of_b.mean, of_b.sd, of_change.mean, low, high, of_change.median,
        int((gain > 0).sum()), int((gain < 0).sum()), int((gain == 0).sum()), p, p_method,
    )  # fmt: skip


def _missing(table: pd.DataFrame) -> int:
    """Cases with nodes and without any predicted voxel."""
    return int(((table["reference_ml"] > 0) & (table["prediction_ml"] == 0)).sum())


def _notes(dice: Difference, confidence: float) -> list[str]:
    notes = []
    if dice.n < _FEW:
        notes.append(
            f"{dice.n} pairs are few: intervals of {100 * confidence:g} % are too narrow in truth"
        )
    differing = dice.n - dice.equal
    if 0 < differing < 6:
        notes.append(
            f"with {differing} differing cases Wilcoxon's p cannot fall below "
            f"{2.0 ** (1 - differing):.2g}"
        )
    notes.append(
        f"the values of p stand for one question each: {len(COMPARED)} measures are not corrected "
        "for, and one run a method says nothing about other seeds"
    )
    return notes


def differences_table(comparison: Comparison) -> pd.DataFrame:
    """`comparison.csv`: a row a measure."""
    return pd.DataFrame([asdict(row) for row in comparison.differences])
