"""How good a segmentation is: measures per case and per node."""

from lnq.evaluation.case_metrics import filled_assd, metrics_table
from lnq.evaluation.comparison import (
    Comparison,
    check_same_references,
    compare_runs,
    differences_table,
)
from lnq.evaluation.evaluation_record import (
    CaseFiles,
    EvaluationRecord,
    evaluation_of,
    read_evaluation,
)
from lnq.evaluation.mask_folders import Evaluation, evaluate_folders
from lnq.evaluation.matching import Match, case_key, match_cases
from lnq.evaluation.measures import Measure
from lnq.evaluation.metrics import assd, dice, precision, recall
from lnq.evaluation.nodes import (
    ReferenceKind,
    false_positives,
    label_nodes,
    measure_nodes,
    nodes_table,
    voxel_recall,
)
from lnq.evaluation.ranking import TEAMS, rank_teams, read_published, with_run
from lnq.evaluation.spread import Spread, mean_and_sd
from lnq.evaluation.summary import Detection, Summary, summarise

__all__ = [
    "TEAMS",
    "CaseFiles",
    "Comparison",
    "Detection",
    "Evaluation",
    "EvaluationRecord",
    "Match",
    "Measure",
    "ReferenceKind",
    "Spread",
    "Summary",
    "assd",
    "case_key",
    "check_same_references",
    "compare_runs",
    "dice",
    "differences_table",
    "evaluate_folders",
    "evaluation_of",
    "false_positives",
    "filled_assd",
    "label_nodes",
    "match_cases",
    "mean_and_sd",
    "measure_nodes",
    "metrics_table",
    "nodes_table",
    "precision",
    "rank_teams",
    "read_evaluation",
    "read_published",
    "recall",
    "summarise",
    "voxel_recall",
    "with_run",
]
