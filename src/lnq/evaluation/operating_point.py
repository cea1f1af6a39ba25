"""Where to cut probabilities: the threshold at which a network is used, chosen on unseen cases.

Where some nodes alone are annotated, neither precision nor the DSC can be computed. But be r(t) the
share of the annotated nodes that are found at threshold t, which estimates recall.

- `count`: Be q(t) the candidates a scan and m the nodes a scan, unknown. If p of the candidates are
  nodes, q p = m r, so that precision x recall = p r = m r²/q: r²/q is largest where that product is
  (Lee and Liu 2003, for documents). As t falls, pieces flow together and become fewer, which is no
  merit: q(t) is the most candidates of any threshold from t on.
- `expected_dice`: Be v(t) the predicted volume a scan and E the volume of all nodes a scan, known
  from how many a user expects and how large the annotated ones are. r E of v is right, and the DSC
  is 2 r E / (v + E).
- `dice`, `f1`: of completely annotated cases the mean itself.

A dozen nodes say little: the threshold at which a criterion is largest is mostly chance. So another
one than 0.5 has to prove itself: of all thresholds that a bootstrap does not tell from the largest,
the one nearest to 0.5 is taken.

Lee and Liu: Learning with positive and unlabeled examples using weighted logistic regression,
ICML 2003.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from lnq.calibration import OF_COMPLETE, Rule
from lnq.errors import UsageError
from lnq.evaluation.threshold_sweep import LOGITS, THRESHOLDS, CaseSweep, Floats

_AS_GOOD = 1e-3
"""Thresholds whose criterion is the largest but for this share of it are equal."""
_ROUNDING = 1e-12
_ENDS = 1e-9, 1 - 2**-24
"""Scores beyond these are those of float32's 0 and 1."""


@dataclass(frozen=True)
class Choice:
    """How an operating point is chosen.

    Attributes:
        rule: What is largest there.
        expected_ml: E, volume of all nodes of a scan, ml, > 0; for `expected_dice`.
        smoothing: Of r, in units of the logit, >= 0: a few nodes make steps, whose place is chance.
            A node counts as found by a logistic function of its score, this wide.
        confidence: In (0, 1): a threshold is told from the best one where it is worse in more than
            this share of the draws. Near 0 the best one itself is taken.
        draws: Of the bootstrap.
        seed: Of the bootstrap.
    """

    rule: Rule
    expected_ml: float | None = None
    smoothing: float = 1.0
    confidence: float = 0.95
    draws: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        if (self.rule == "expected_dice") != (self.expected_ml is not None):
            raise ValueError("expected_ml is for the rule expected_dice, which needs it")


@dataclass(frozen=True, eq=False)
class OperatingCurve:
    """What is known at each of the T thresholds.

    Attributes:
        threshold: In (0, 1), rising.
        recall: r, in [0, 1], smoothed.
        candidates: q, the most of any threshold from here on.
        volume_ml: Of a scan's mask, mean, ml.
        criterion: What the rule makes as large as it can be.
    """

    threshold: Floats
    recall: Floats
    candidates: Floats
    volume_ml: Floats
    criterion: Floats


@dataclass(frozen=True, eq=False)
class OperatingPoint:
    """A threshold and what it rests on.

    Attributes:
        threshold: In (0, 1).
        interval: Of the thresholds that are not told from the best one; None where there are too
            few cases and nodes to draw.
        cases: Ids of those that were used.
        num_nodes: Annotated in them.
        curve: What it was chosen from.
    """

    threshold: float
    interval: tuple[float, float] | None
    cases: list[str]
    num_nodes: int
    curve: OperatingCurve


def choose_operating_point(cases: Sequence[CaseSweep], choice: Choice) -> OperatingPoint:
    """The threshold nearest to 0.5 that is not told from the one of a rule's largest criterion.

    It is told by a bootstrap in two stages: patients with all their cases, then, where r is in the
    rule, the nodes in each case. Where there is too little to draw, it is the largest itself.

    Args:
        cases: That training never saw. For `dice` and `f1` those count that are complete and have a
            node.
        choice: Rule and settings.

    Raises:
        UsageError: There is no node, or none is found at any threshold.
        ValueError: A case holds NaN where there must be a number.
    """
    if choice.rule in OF_COMPLETE:
        cases = [case for case in cases if case.dice is not None and len(case.node_scores)]
    if not sum(len(case.node_scores) for case in cases):
        raise UsageError(
            "no threshold can be chosen", why="no node is annotated in the cases to choose by",
            remedy="hold out more patients: train with a larger datamodule.holdout",
        )  # fmt: skip
    table = _Table.of(cases, choice)
    if max(case.node_scores.max(initial=0) for case in cases) <= THRESHOLDS[0]:
        raise UsageError(
            "no threshold can be chosen", why="no annotated node is found at any threshold",
            remedy="train longer, or give predict a threshold of your own",
        )  # fmt: skip
    curve = table.curve(np.ones(len(cases)), np.ones(len(table.case_of)))
    place, interval = _best(curve.criterion), None
    if (draws := _draws(table, choice)) is not None:
        worse_by = draws[:, place, None] - draws
        as_good = np.flatnonzero(np.quantile(worse_by, 1 - choice.confidence, axis=0) <= _ROUNDING)
        interval = float(THRESHOLDS[as_good[0]]), float(THRESHOLDS[as_good[-1]])
        place = int(as_good[np.abs(LOGITS[as_good]).argmin()])
    return OperatingPoint(
        float(THRESHOLDS[place]), interval, [case.case for case in cases], len(table.case_of), curve
    )


@dataclass(frozen=True, eq=False)
class _Table:
    """The numbers of c cases and their n nodes, one below another.

    Attributes:
        choice: Rule and settings.
        patients: Number of each case's patient, (c,).
        case_of: Place of each node's case, (n,).
        found: (n, T), in [0, 1].
        candidates: (c, T).
        volume_ml: (c, T).
        measured: DSC or F1, (c, T); empty for the other rules.
    """

    choice: Choice
    patients: np.ndarray
    case_of: np.ndarray
    found: Floats
    candidates: Floats
    volume_ml: Floats
    measured: Floats

    @classmethod
    def of(cls, cases: Sequence[CaseSweep], choice: Choice) -> _Table:
        scores = np.concatenate([case.node_scores for case in cases])
        candidates = np.array([np.maximum.accumulate(c.candidates[::-1])[::-1] for c in cases])
        volume_ml = np.array([case.volume_mm3 for case in cases]) / 1000
        measures = {"dice": [c.dice for c in cases], "f1": [c.node_f1 for c in cases]}
        measured = np.array(measures.get(choice.rule, []), float)
        if any(np.isnan(array).any() for array in (scores, candidates, volume_ml, measured)):
            raise ValueError("a case holds NaN")
        names = sorted({case.patient for case in cases})
        return cls(
            choice,
            np.array([names.index(case.patient) for case in cases], int),
            np.repeat(np.arange(len(cases)), [len(case.node_scores) for case in cases]),
            _found(scores, choice.smoothing), candidates, volume_ml, measured,
        )  # fmt: skip

    def curve(self, of_cases: Floats, of_nodes: Floats) -> OperatingCurve:
        """The mean curves with each case and each node counted so many times."""
        recall = np.clip(of_nodes @ self.found / of_nodes.sum(), 0, 1)  # but for rounding
        q, v = (of_cases @ array / of_cases.sum() for array in (self.candidates, self.volume_ml))
        if (expected := self.choice.expected_ml) is not None:
            criterion = 2 * recall * expected / (v + expected)
        elif self.choice.rule == "count":
            criterion = np.divide(recall**2, q, out=np.zeros_like(q), where=q > 0)
        else:
            criterion = of_cases @ self.measured / of_cases.sum()
        return OperatingCurve(THRESHOLDS, recall, q, v, criterion)


def _found(scores: Floats, width: float) -> Floats:
    if width == 0:
        return (scores[:, None] > THRESHOLDS).astype(np.float64)
    beyond = logit(np.clip(scores, *_ENDS))[:, None] - LOGITS
    return np.asarray(expit(beyond / width), np.float64)


def _best(criterion: Floats) -> int:
    best = np.flatnonzero(criterion >= criterion.max() * (1 - _AS_GOOD))
    return int(best[np.abs(LOGITS[best]).argmin()])


def _draws(table: _Table, choice: Choice) -> Floats | None:
    """The criterion of resampled cases and nodes, (draws, T); None where none can be drawn."""
    by_nodes = choice.rule not in OF_COMPLETE
    patients, nodes_of = int(table.patients.max()) + 1, np.bincount(table.case_of)
    if patients < 2 and not (by_nodes and nodes_of.max() > 1):
        return None
    generator = np.random.default_rng(choice.seed)
    criteria = []
    for _ in range(choice.draws):
        times = generator.multinomial(patients, np.full(patients, 1 / patients))[table.patients]
        of_nodes = times[table.case_of]
        for case in np.flatnonzero(nodes_of) if by_nodes else ():
            own, number = table.case_of == case, nodes_of[case]
            of_nodes[own] = generator.multinomial(times[case] * number, np.full(number, 1 / number))
        if of_nodes.any():  # else patients without an annotated node alone
            curve = table.curve(times.astype(np.float64), of_nodes.astype(np.float64))
            criteria.append(curve.criterion)
    return np.array(criteria)
