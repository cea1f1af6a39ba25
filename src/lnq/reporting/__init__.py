"""One self-contained page about one or several training runs."""

from lnq.reporting.page import write_report
from lnq.reporting.runs import Run, read_runs

__all__ = ["Run", "read_runs", "write_report"]
