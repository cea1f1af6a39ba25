"""The run's curves as a CSV file that a resumed run goes on with, and its pictures as PNG."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.image import imsave
from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from lnq.curves import EPOCH, STEP, Row, read_rows
from lnq.files import atomic_path, write_text
from lnq.run_folder import RunFolder
from lnq.volume import Array


class CurvesLogger(Logger):
    """Writes `folder/curves.csv`: one row a logged step, one column a quantity.

    Pictures become `folder/<key>/<caption>.png`.

    Lightning's own CSV logger deletes the file when a run is resumed. This one keeps the rows
    before what it goes on with, and drops those that are computed again.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.run = RunFolder(folder)
        self._columns: list[str] = []
        self._begun = False

    @property
    def name(self) -> str:
        """Lightning asks for one; the run's folder has it."""
        return ""

    @property
    def version(self) -> str:
        """Lightning asks for one; the run's folder has it."""
        return ""

    @property
    def save_dir(self) -> str:
        """Folder of the file."""
        return str(self.run.path)

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run's record has them."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Appends a row; it is in the file when this returns.

        Raises:
            UsageError: The file that is there is damaged.
        """
        row = {STEP: step, **metrics}
        if not self._begun:
            self._begun = True
            kept = _computed_before(read_rows(self.run), row)
            self._columns = sorted({name for old in kept for name in old} | row.keys())
            self._rewrite(kept)
        elif new := row.keys() - set(self._columns):
            self._columns = sorted({*self._columns, *new})
            self._rewrite(read_rows(self.run))
        with self.run.curves.open("a", encoding="utf-8", newline="") as handle:
            handle.write(self._lines([row]))

    @rank_zero_only
    def log_image(
        self, key: str, images: Sequence[Array], step: int | None, caption: Sequence[str]
    ) -> None:
        """Writes each picture, uint8 (height, width, 3), under its caption."""
        for image, name in zip(images, caption, strict=True):
            with atomic_path(self.run.path / key / f"{name}.png") as temporary:
                imsave(temporary, image)

    def _rewrite(self, rows: Iterable[Mapping[str, Any]]) -> None:
        header = self._lines([dict(zip(self._columns, self._columns, strict=True))])
        write_text(self.run.curves, header + self._lines(rows))

    def _lines(self, rows: Iterable[Mapping[str, Any]]) -> str:
        text = io.StringIO()
        csv.DictWriter(text, self._columns, lineterminator="\n").writerows(rows)
        return text.getvalue()


def _computed_before(rows: Iterable[Row], first: Mapping[str, Any]) -> list[Row]:
    """The rows up to what is computed again, where that begins with `first`.

    A validation that begins anew leaves the row of the training step before it, of the same number.
    """
    named = {name for name, value in first.items() if value is not None} - {STEP, EPOCH}

    def is_earlier(old: Row) -> bool:
        step = int(old[STEP])
        again = any(old.get(name) for name in named)
        return step < first[STEP] or (step == first[STEP] and not again)

    return list(itertools.takewhile(is_earlier, rows)) if first[STEP] is not None else []
