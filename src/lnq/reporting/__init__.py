"""One self-contained page about one or several training runs."""

from lnq.reporting.page import NONE, summary_rows, write_report
from lnq.reporting.runs import Run, read_runs

__all__ = ["NONE", "Run", "read_runs", "summary_rows", "write_report"]
