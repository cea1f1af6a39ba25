"""One self-contained page about one or several training runs; tables of many; figures."""

from lnq.reporting.collection import Collection, collect
from lnq.reporting.corruption import corrupted, corruption_figure
from lnq.reporting.figures import save
from lnq.reporting.page import NONE, summary_rows, write_report
from lnq.reporting.runs import Run, read_runs
from lnq.reporting.sensitivity import MEASURES, sensitivity, sensitivity_figure
from lnq.reporting.table1 import table1, to_latex, to_markdown

__all__ = [
    "MEASURES",
    "NONE",
    "Collection",
    "Run",
    "collect",
    "corrupted",
    "corruption_figure",
    "read_runs",
    "save",
    "sensitivity",
    "sensitivity_figure",
    "summary_rows",
    "table1",
    "to_latex",
    "to_markdown",
    "write_report",
]
