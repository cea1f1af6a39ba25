"""What is measured of a case: the columns of `metrics.csv`, and what they are called elsewhere."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Measure:
    """One measure of a case.

    Attributes:
        column: Its column in `metrics.csv`.
        title: What it is called, with its unit.
        short: The same for narrow tables.
        decimals: That means of it are worth.
        more_is_better: Whether a larger value is the better one.
    """

    column: str
    title: str
    short: str
    decimals: int
    more_is_better: bool

    def text(self, value: float | None) -> str:
        """A mean of it, or a difference of means; a dash where there is none."""
        return "-" if value is None else f"{value:.{self.decimals}f}"


DICE = Measure("dice", "DSC", "DSC", 3, True)
PRECISION = Measure("precision", "Precision", "Precision", 3, True)
RECALL = Measure("recall", "Recall", "Recall", 3, True)
ASSD = Measure("assd_mm", "ASSD, mm", "ASSD", 2, False)
ASSD_FILLED = Measure("assd_filled_mm", "ASSD filled, mm", "ASSD filled", 2, False)
HD95 = Measure("hd95_mm", "HD95, mm", "HD95", 2, False)
NSD = Measure("nsd", "NSD at 2 mm", "NSD", 3, True)
NODE_F1 = Measure("node_f1", "F1 of nodes", "Node F1", 3, True)
FALSE_POSITIVES = Measure("false_positives", "False positives per case", "False pos.", 2, False)
PER_CASE = (DICE, PRECISION, RECALL, ASSD, ASSD_FILLED, HD95, NSD, NODE_F1)
"""Those that a case may lack, in the order of `lnq.evaluation.summary.MeasureSpreads`."""
