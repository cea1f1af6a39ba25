"""The threshold that a run is used at: by hand, by loops, and where there is little to go by."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from lnq.calibration import Rule
from lnq.errors import UsageError
from lnq.evaluation.operating_point import Choice, OperatingPoint, choose_operating_point
from lnq.evaluation.threshold_sweep import LOGITS, THRESHOLDS, CaseSweep


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def case(
    nodes: Any, candidates: Any, name: str = "c", patient: str | None = None,
    voxel_ml: float = 1.0, **more: Any,
) -> CaseSweep:  # fmt: skip
    """Of nodes and candidates, given the logits up to which each of them is there."""
    lasting = np.asarray(candidates, float)
    there = (lasting[:, None] > LOGITS).sum(axis=0).astype(float)
    scores = np.array([sigmoid(x) for x in nodes])
    return CaseSweep(
        name, patient or name, scores, np.full(len(scores), 2000.0), there,
        1000.0 * voxel_ml * there, **more,
    )  # fmt: skip


def chosen(*cases: CaseSweep, rule: Rule = "count", **choice: Any) -> OperatingPoint:
    """Where the criterion is largest, unless a confidence is given."""
    settings = {"smoothing": 0.0, "draws": 50, "confidence": 1e-6, **choice}
    return choose_operating_point(cases, Choice(rule, **settings))


def test_by_hand() -> None:
    # Both nodes until 1, one until 3; candidates fall from ten to two at 0, and to one at 1.
    point = chosen(case([1.01, 3.01], [0.01] * 8 + [1.01, 3.01]))
    # r²/q is 1/10, then 1/2 in (0, 1], then 1/4: the nearest to 0.5 of (0, 1] is its first step.
    assert point.threshold == pytest.approx(sigmoid(0.125))
    assert (len(point.cases), point.num_nodes) == (1, 2)
    at = {x: np.flatnonzero(x == LOGITS)[0] for x in (-1.0, 0.5, 2.0, 4.0)}
    curve = point.curve
    assert [curve.recall[place] for place in at.values()] == [1.0, 1.0, 0.5, 0.0]
    assert [curve.candidates[place] for place in at.values()] == [10, 2, 1, 0]
    assert [curve.volume_ml[place] for place in at.values()] == [10, 2, 1, 0]
    assert [curve.criterion[place] for place in at.values()] == [0.1, 0.5, 0.25, 0.0]
    assert curve.threshold is THRESHOLDS


def test_candidates_and_volumes_are_means_over_scans_and_recall_is_over_nodes() -> None:
    point = chosen(case([1.01, 1.01, -1.0], [0.5] * 3, "a"), case([1.01], [0.5], "b"),
                   case([], [0.5, 0.5], "c"))  # fmt: skip
    assert (len(point.cases), point.num_nodes) == (3, 4)
    middle = 64
    assert point.curve.recall[middle] == 0.75
    assert point.curve.candidates[middle] == 2


def test_pieces_that_flow_together_are_not_fewer_mistakes() -> None:
    # Below -4 all is one piece, which holds every node.
    flowing = case([2.01, 3.01], [2.01, 3.01, 1.01, 0.5])
    pieces = np.where(LOGITS < -4, 1.0, flowing.candidates)
    flowing = CaseSweep("c", "c", flowing.node_scores, flowing.node_volumes_mm3, pieces,
                        flowing.volume_mm3)  # fmt: skip
    point = chosen(flowing)
    assert point.threshold == pytest.approx(sigmoid(1.125))
    assert point.curve.candidates[0] == 4


def test_the_expected_dsc_by_hand() -> None:
    # Both nodes until 1, one until 3; 10 ml are predicted until 0, 3 ml until 1, 1 ml until 3.
    sweep = case([1.01, 3.01], [0.01] * 7 + [1.01, 1.01, 3.01])
    at = {x: np.flatnonzero(x == LOGITS)[0] for x in (-1.0, 0.5, 2.0, 4.0)}
    point = chosen(sweep, rule="expected_dice", expected_ml=4.0)
    expected = [2 * 4 / (10 + 4), 2 * 4 / (3 + 4), 2 * 0.5 * 4 / (1 + 4), 0.0]
    assert [point.curve.criterion[place] for place in at.values()] == pytest.approx(expected)
    assert point.threshold == pytest.approx(sigmoid(0.125))
    # Who expects little wants little predicted; who expects much, all of it.
    little, much = (
        chosen(sweep, rule="expected_dice", expected_ml=volume).threshold for volume in (0.1, 99.0)
    )
    assert (little, much) == pytest.approx((sigmoid(1.125), sigmoid(0.125)))


def loops(cases: list[CaseSweep], width: float, expected_ml: float | None) -> float:
    """Both rules of partial labels without arrays."""
    best, place = -1.0, 0.0
    for number, x in enumerate(LOGITS):
        found, total, q, v = 0.0, 0, 0.0, 0.0
        for each in cases:
            for score in each.node_scores:
                found += sigmoid((math.log(score / (1 - score)) - x) / width)
                total += 1
            q += max(each.candidates[number:]) / len(cases)
            v += each.volume_mm3[number] / 1000 / len(cases)
        r = found / total
        if expected_ml is not None:
            criterion = 2 * r * expected_ml / (v + expected_ml)
        else:
            criterion = r * r / q if q else 0.0
        if criterion > best:
            best, place = criterion, x
    return float(place)


@pytest.mark.parametrize("expected_ml", [None, 3.0])
@pytest.mark.parametrize("seed", range(3))
def test_as_by_loops(seed: int, expected_ml: float | None) -> None:
    rng = np.random.default_rng(seed)
    cases = []
    for number in range(4):
        nodes = rng.normal(2, 1, 3)
        cases.append(case(nodes, [*nodes, *rng.normal(1, 1, 12)], str(number)))
    rule: Rule = "count" if expected_ml is None else "expected_dice"
    point = chosen(*cases, rule=rule, expected_ml=expected_ml, smoothing=1.0)
    x = math.log(point.threshold / (1 - point.threshold))
    slow = loops(cases, 1.0, expected_ml)
    assert -1e-9 <= slow - x <= 0.26  # as good within a thousandth, and nearer to 0.5


@pytest.mark.parametrize(("rule", "ml"), [("count", 1.0), ("expected_dice", None)])
def test_expected_volume_and_rule_belong_together(rule: Rule, ml: float | None) -> None:
    with pytest.raises(ValueError, match="expected_ml"):
        Choice(rule, ml)


def test_smoothing_takes_steps_for_what_they_are() -> None:
    # The last mistake goes just before the nodes do: a peak two steps wide, by chance.
    sweep = case([4.24, 4.24], [4.24, 4.24, 4.01, -2.0, -2.0])
    rough, smooth = (chosen(sweep, smoothing=s).threshold for s in (0.0, 1.0))
    assert rough == pytest.approx(sigmoid(4.125))
    assert smooth < sigmoid(3.0)


@pytest.mark.parametrize("rule", ["dice", "f1"])
def test_complete_cases_are_measured(rule: Rule) -> None:
    peak = {"dice": 1.0, "f1": 2.0}
    cases = [
        case([3.0], [3.0], name, dice=weight * np.exp(-(LOGITS - peak["dice"]) ** 2),
             node_f1=weight * np.exp(-(LOGITS - peak["f1"]) ** 2))
        for name, weight in (("a", 0.5), ("b", 1.0))
    ]  # fmt: skip
    empty = case(
        [], [1.0], "e", dice=np.full(len(LOGITS), math.nan), node_f1=np.full(len(LOGITS), math.nan)
    )
    point = chosen(*cases, case([3.0], [3.0], "partial"), empty, rule=rule)
    assert point.threshold == pytest.approx(sigmoid(peak[rule]))
    assert (len(point.cases), point.num_nodes) == (2, 2)
    assert point.curve.criterion.max() == pytest.approx(0.75)


def test_no_node_is_refused() -> None:
    for cases in ([], [case([], [1.0])]):
        with pytest.raises(UsageError, match="no node is annotated"):
            chosen(*cases)
    with pytest.raises(UsageError, match="no node is annotated"):
        chosen(case([1.0], [1.0]), rule="dice")


def test_no_candidate_at_any_threshold_is_refused() -> None:
    with pytest.raises(UsageError, match="no annotated node is found at any threshold"):
        chosen(case([-9.0, -9.0], []))


def test_one_node() -> None:
    point = chosen(case([2.01], [2.01, 0.01]), smoothing=0.5)
    assert 0.5 < point.threshold < sigmoid(2.5)
    assert point.interval is None


def test_what_is_found_at_all_thresholds_leaves_it_at_a_half() -> None:
    for smoothing in (0.0, 0.5):
        assert chosen(case([9.0, 9.0], [9.0, 9.0]), smoothing=smoothing).threshold == 0.5


def test_nan_is_refused() -> None:
    good = case([1.0], [1.0])
    for wrong in (
        case([math.nan], [1.0]),
        CaseSweep("c", "c", good.node_scores, good.node_volumes_mm3,
                  np.full(len(LOGITS), math.nan), good.volume_mm3),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="NaN"):
            chosen(wrong)


def many(number: int, nodes: int, seed: int = 0) -> list[CaseSweep]:
    rng = np.random.default_rng(seed)
    cases = []
    for place in range(number):
        own = rng.normal(2, 1, nodes)
        cases.append(case(own, [*own, *rng.normal(0, 1.5, 30)], f"c{place}"))
    return cases


def test_the_interval_holds_the_threshold_and_shrinks_with_cases() -> None:
    def width(number: int, confidence: float) -> float:
        point = chosen(*many(number, 2), rule="expected_dice", expected_ml=12.0, smoothing=1.0,
                       draws=100, confidence=confidence)  # fmt: skip
        assert point.interval is not None
        low, high = point.interval
        assert low <= point.threshold <= high
        return math.log(high / (1 - high)) - math.log(low / (1 - low))

    assert width(100, 0.95) < 0.5 * width(4, 0.95)
    assert width(4, 0.5) < width(4, 0.95)


def by_loops(cases: list[CaseSweep], choice: Choice) -> float:
    """The logit nearest to 0 that is not worse in more draws than `confidence` of them."""
    generator = np.random.default_rng(choice.seed)
    best = int(np.flatnonzero(chosen(*cases, rule=choice.rule).threshold == THRESHOLDS)[0])
    worse = np.zeros(len(LOGITS))
    for _ in range(choice.draws):
        times = generator.multinomial(len(cases), [1 / len(cases)] * len(cases))
        drawn: list[CaseSweep] = []
        for number, (each, often) in enumerate(zip(cases, times, strict=True)):
            n = len(each.node_scores)
            nodes = generator.multinomial(often * n, [1 / n] * n)
            for copy in range(often):  # the nodes in one copy, for they count over all cases
                scores = np.repeat(each.node_scores, nodes) if copy == 0 else each.node_scores[:0]
                drawn.append(CaseSweep(f"{number}.{copy}", f"{number}", scores, scores,
                                       each.candidates, each.volume_mm3))  # fmt: skip
        criterion = chosen(*drawn, rule=choice.rule).curve.criterion
        worse += criterion[best] - criterion > 1e-12
    as_good = [x for x, often in zip(LOGITS, worse, strict=True)
               if often <= choice.confidence * choice.draws]  # fmt: skip
    return float(min(as_good, key=abs))


@pytest.mark.parametrize("seed", range(3))
def test_another_threshold_than_a_half_has_to_prove_itself(seed: int) -> None:
    cases = many(5, 2, seed)
    choice = Choice("count", smoothing=0.0, confidence=0.9, draws=41, seed=seed)
    largest = chosen(*cases)
    point = choose_operating_point(cases, choice)
    assert abs(LOGITS[point.threshold == THRESHOLDS][0]) <= abs(
        LOGITS[largest.threshold == THRESHOLDS][0]
    )
    assert point.threshold == pytest.approx(sigmoid(by_loops(cases, choice)))


def test_few_nodes_leave_it_at_a_half_and_many_move_it() -> None:
    # Above 0.75 a mistake in every third scan is gone, and a node of every tenth.
    def of(number: int) -> float:
        cases = []
        for n in range(number):
            lasts = 4.01 if n % 10 else 0.51
            cases.append(case([lasts], [lasts] if n % 3 else [lasts, 1.01], f"c{n}"))
        assert chosen(*cases).threshold > 0.7
        return chosen(*cases, confidence=0.95).threshold

    assert of(4) == 0.5
    assert of(200) > 0.7


def test_the_interval_is_by_patients() -> None:
    cases = many(6, 2)
    same = [CaseSweep(**{**vars(c), "patient": "one"}) for c in cases]
    assert chosen(*same, rule="count").interval is not None  # nodes are drawn even so
    complete = [CaseSweep(**{**vars(c), "dice": np.exp(-(LOGITS**2))}) for c in same]
    assert chosen(*complete, rule="dice").interval is None


def test_the_bootstrap_is_by_seed() -> None:
    cases = many(5, 3)
    first, again, *others = (
        chosen(*cases, seed=seed, rule="expected_dice", expected_ml=12.0, smoothing=1.0,
               draws=5, confidence=0.8).interval
        for seed in (1, 1, 2, 3, 4, 5)
    )  # fmt: skip
    assert first == again
    assert len({first, *others}) > 1


def test_a_draw_without_a_node_counts_for_nothing() -> None:
    cases = [*many(1, 2), *(case([], [0.5], f"e{n}") for n in range(5))]
    assert chosen(*cases).interval is not None
