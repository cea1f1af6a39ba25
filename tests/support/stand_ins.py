"""In the place of trained networks where files and tables are looked at, not masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from lnq.inference.mask_files import Job
from lnq.inference.predictor import Predictor
from lnq.inference.segmenter import LoadedCheckpoint, Segmentation, Segmenter

CHECKPOINT = LoadedCheckpoint(Path("last.ckpt"), "the loaded one's")


class StandIn(Segmenter):
    """Gives `find(name)` of a scan NAME.nrrd, unread."""

    def __init__(self, find: Callable[[str], Segmentation]) -> None:
        super().__init__(cast("Predictor", None), [CHECKPOINT])
        self._find = find

    def prepare(self, scan: object) -> Any:
        return scan

    def segment(self, scan: object, counted: object = None) -> Segmentation:
        return self._find(cast("Path", scan).stem)


def masks_by(monkeypatch: pytest.MonkeyPatch, write: Callable[[Job, Path], object]) -> None:
    """`predict_folder` has `write(job, output)` write masks."""
    monkeypatch.setattr(
        "lnq.inference.scan_folder.write_masks", lambda _, job, output, __: write(job, output)
    )
