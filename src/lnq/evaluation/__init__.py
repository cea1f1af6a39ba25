"""How good a segmentation is: measures per case and per node."""

from lnq.evaluation.comparison import (
    Comparison,
    check_same_references,
    compare_runs,
    differences_table,
)
from lnq.evaluation.folder import Evaluation, evaluate_folders
from lnq.evaluation.matching import Match, case_key, match_cases
from lnq.evaluation.metrics import assd, dice, precision, recall
from lnq.evaluation.nodes import ReferenceKind, label_nodes, measure_nodes
from lnq.evaluation.ranking import TEAMS, rank_teams, read_published, with_run
from lnq.evaluation.tables import metrics_table, nodes_table, summarise

__all__ = [
    "TEAMS",
    "Comparison",
    "Evaluation",
    "Match",
    "ReferenceKind",
    "assd",
    "case_key",
    "check_same_references",
    "compare_runs",
    "dice",
    "differences_table",
    "evaluate_folders",
    "label_nodes",
    "match_cases",
    "measure_nodes",
    "metrics_table",
    "nodes_table",
    "precision",
    "rank_teams",
    "read_published",
    "recall",
    "summarise",
    "with_run",
]
