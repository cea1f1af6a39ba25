"""Where everything of a run lies, for the user to read when it ends."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from pytorch_lightning.loggers import Logger

from lnq.callbacks.curves_logger import CURVES
from lnq.callbacks.loggers import OfflineFirstWandbLogger
from lnq.callbacks.panels import PANELS
from lnq.callbacks.tensorboard import TENSORBOARD
from lnq.networks.transfer import LAST

PLACES: dict[str, str | Path] = {
    "checkpoint": LAST,
    "curves": CURVES,
    "pictures": PANELS,
    "TensorBoard": TENSORBOARD,
    "profile": "fit-profile.txt",
}


def whereabouts(folder: Path, loggers: Iterable[Logger]) -> dict[str, str]:
    """What there is of a run, by name: paths, and how to see it with W&B.

    Args:
        folder: The run's folder.
        loggers: Those of the training that ended.
    """
    found = {name: str(folder / place) for name, place in PLACES.items()}
    lying = {name: place for name, place in found.items() if Path(place).exists()}
    for logger in loggers:
        if isinstance(logger, OfflineFirstWandbLogger) and logger.place is not None:
            lying["W&B"] = logger.place
    return lying
