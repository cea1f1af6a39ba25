"""One self-contained page about one or several training runs; tables of many; figures.

What needs torch is imported by name: `lnq.reporting.corruption`.
"""

from lnq.reporting.collection import VALIDATION, Collection, collect
from lnq.reporting.cross_validation import cross_validation
from lnq.reporting.operating_point import calibration_figure
from lnq.reporting.page import write_report
from lnq.reporting.plotting import save
from lnq.reporting.runs import MANY_RUNS, Run, read_runs, select_runs
from lnq.reporting.sensitivity import MEASURES, sensitivity, sensitivity_figure
from lnq.reporting.summary_table import NONE, summary_rows
from lnq.reporting.table1 import table1, to_latex, to_markdown

__all__ = [
    "MANY_RUNS",
    "MEASURES",
    "NONE",
    "VALIDATION",
    "Collection",
    "Run",
    "calibration_figure",
    "collect",
    "cross_validation",
    "read_runs",
    "save",
    "select_runs",
    "sensitivity",
    "sensitivity_figure",
    "summary_rows",
    "table1",
    "to_latex",
    "to_markdown",
    "write_report",
]
