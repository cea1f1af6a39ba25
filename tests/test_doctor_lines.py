"""The doctor's lines below its table: what is usual is said once, not once a case."""

from __future__ import annotations

from lnq.data.preparation.inspection import CaseReport
from lnq.doctor import cut_lungs


def report(name: str, litres: float, *sides: str) -> CaseReport:
    return CaseReport(name, "train", "none", f"{name}.nrrd", None, lungs_litres=litres,
                      lungs_cut=sides)  # fmt: skip


def test_cut_lungs_are_told_side_by_side() -> None:
    reports = [report("a", 4.84, "feet", "head"), report("whole", 5.0), report("b", 3, "feet"),
               report("c", 5, "feet", "head")]  # fmt: skip
    assert list(cut_lungs(reports)) == [
        "cut: lungs are cut off at feet, head: a (4.8 l in view), c (5.0 l in view)",
        "cut: lungs are cut off at feet: b (3.0 l in view)",
    ]
    many = [report(f"p{number}", 4, "head") for number in range(36)]
    (line,) = cut_lungs(many)
    assert len(line) < 400
    assert line.endswith(" more")
