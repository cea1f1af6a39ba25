"""One self-contained page about one or several training runs, and figures of the method."""

from lnq.reporting.corruption import corrupted, corruption_figure
from lnq.reporting.figures import save
from lnq.reporting.page import NONE, summary_rows, write_report
from lnq.reporting.runs import Run, read_runs

__all__ = [
    "NONE",
    "Run",
    "corrupted",
    "corruption_figure",
    "read_runs",
    "save",
    "summary_rows",
    "write_report",
]
