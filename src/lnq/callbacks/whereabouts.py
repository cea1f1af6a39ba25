"""Where everything of a run lies, for the user to read when it ends."""

from __future__ import annotations

from collections.abc import Iterable

from pytorch_lightning.loggers import Logger

from lnq.callbacks.loggers import OfflineFirstWandbLogger
from lnq.run_folder import RunFolder


def whereabouts(run: RunFolder, loggers: Iterable[Logger]) -> dict[str, str]:
    """What there is of a run, by name: paths, and how to see it with W&B.

    Args:
        run: The run's folder.
        loggers: Those of the training that ended.
    """
    places = {
        "checkpoint": run.checkpoint,
        "curves": run.curves,
        "pictures": run.panels,
        "TensorBoard": run.tensorboard,
        "profile": run.profile,
    }
    lying = {name: str(place) for name, place in places.items() if place.exists()}
    for logger in loggers:
        if isinstance(logger, OfflineFirstWandbLogger) and logger.place is not None:
            lying["W&B"] = logger.place
    return lying
