"""A folder of predicted masks: `predict` writes it, evaluation and report read it.

NAME.nii.gz, ...     a mask a scan
nodes.csv            a row a node of the masks
probabilities/       if wanted, what the masks were cut from
previews/            if wanted, a picture a scan
manifest.json        which mask is of which scan, and the hash of nodes.csv; written last
"""

from lnq.predictions.manifest import PredictedCase, read_predicted
from lnq.predictions.nodes import ENLARGED_MM, HASH, NODES, FoundNode, nodes_of_masks, write_nodes
from lnq.predictions.threshold import THRESHOLD, Threshold, threshold_of

PROBABILITIES = "probabilities"
PREVIEWS = "previews"

__all__ = [
    "ENLARGED_MM",
    "HASH",
    "NODES",
    "PREVIEWS",
    "PROBABILITIES",
    "THRESHOLD",
    "FoundNode",
    "PredictedCase",
    "Threshold",
    "nodes_of_masks",
    "read_predicted",
    "threshold_of",
    "write_nodes",
]
