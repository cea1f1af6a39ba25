"""What Lightning says that is no concern of the user's."""

from __future__ import annotations

import logging
import warnings


def silence() -> None:
    """Drops it, for the rest of the process.

    The run's folder was checked, and a resumed run's is full or has moved; pre-training, or a store
    without completely annotated cases, has nothing to validate; a deprecation of torch's inside
    Lightning; adverts, and what hardware it found (the first line of a training says it, with a
    note where a run is too short for its curves).
    """
    warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
    warnings.filterwarnings("ignore", "The dirpath has changed from")
    warnings.filterwarnings("ignore", "You passed in a `val_dataloader` but have no")
    warnings.filterwarnings("ignore", "Total length of `list` across ranks is zero")
    warnings.filterwarnings("ignore", "The number of training batches .* is smaller than the log")
    warnings.filterwarnings("ignore", "GPU available but not used")
    warnings.filterwarnings("ignore", r".*isinstance\(treespec, LeafSpec\)", FutureWarning)
    for library in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(library).setLevel(logging.WARNING)
