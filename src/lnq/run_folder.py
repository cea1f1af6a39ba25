"""Where everything of a training run lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lnq.files import MANIFEST, require_inside

PANELS = "panels"
"""Name of the pictures of pseudo labels with every logger, and of their folder in the run's."""


@dataclass(frozen=True)
class MeasuredFolder:
    """Where masks of some scans lie beside the measures of these masks.

    It may come from a stranger: a part of it that is a link out of it is neither read nor written.
    The checkpoint alone, which has checks of its own, may be a link.

    Attributes:
        path: The folder itself.
    """

    path: Path

    def _own(self, name: str) -> Path:
        return require_inside(self.path / name, self.path)

    @property
    def predictions(self) -> Path:
        """Folder of the masks."""
        return self._own("predictions")

    @property
    def evaluation(self) -> Path:
        """Folder of their measures."""
        return self._own("evaluation")


@dataclass(frozen=True)
class RunFolder(MeasuredFolder):
    """The folder of a training run; its own masks and measures are of scans it did not see.

    Attributes:
        path: The folder itself.
    """

    @property
    def training(self) -> MeasuredFolder:
        """Masks of the run's own training scans, and their measures."""
        return MeasuredFolder(self._own("training"))

    @property
    def manifest(self) -> Path:
        """Where the run came from, and whether it came to its end."""
        return self._own(MANIFEST)

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self._own("config.yaml")

    @property
    def curves(self) -> Path:
        """What was logged, see `lnq.curves`."""
        return self._own("curves.csv")

    @property
    def checkpoint(self) -> Path:
        """The newest checkpoint."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def calibration(self) -> Path:
        """The threshold at which the network is used, see `lnq.calibration`."""
        return self._own("calibration.json")

    @property
    def calibration_figure(self) -> Path:
        """What it was chosen from, as a drawing; beside it lies a PNG."""
        return self._own("calibration.svg")

    @property
    def panels(self) -> Path:
        """Folder of the pictures of pseudo labels."""
        return self._own(PANELS)

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard's files."""
        return self._own("tensorboard")

    @property
    def wandb_id(self) -> Path:
        """The id of the run with W&B."""
        return self.path / "wandb" / "id"

    @property
    def profile(self) -> Path:
        """Where the time went, if that was asked for."""
        return self._own("fit-profile.txt")

    @property
    def report(self) -> Path:
        """The page about the run."""
        return self._own("report.html")
