"""Masks of predicted scans at other thresholds than the one they were cut at."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import TypeAdapter, ValidationError

from lnq.box import Box
from lnq.data.readers import read_image, read_probability
from lnq.errors import CaseError, LnqError, UsageError
from lnq.evaluation.other_thresholds import Cut, CutOf
from lnq.inference.post_processing import PostProcessing
from lnq.inference.predictor import above
from lnq.predictions import PROBABILITIES, PredictedCase, read_predicted
from lnq.volume import Mask, Volume, reorient

_AGAIN = "run lnq.predict again with save_probabilities=true"
_SETTINGS = TypeAdapter(PostProcessing)


def recut(predictions: Path) -> CutOf:
    """How the masks of a folder are made anew from their probabilities, post-processing included.

    Args:
        predictions: Folder that `predict save_probabilities=true` wrote.

    Raises:
        UsageError: The folder has no probabilities, is of another program, or its masks were
            cleaned at the border of the lung crop, which nothing has kept.
    """
    try:
        manifest, cases = read_predicted(predictions)
        settings = dict(manifest["config"]["postprocess"])
        settings.pop("_target_", None)
        post = _SETTINGS.validate_python(settings)
    except (LnqError, KeyError, TypeError, ValueError) as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        raise UsageError(
            "how these masks were made is not known", where=predictions, why=why, remedy=_AGAIN,
        ) from error  # fmt: skip
    if not (predictions / PROBABILITIES).is_dir():
        raise UsageError("there are no probabilities", where=predictions, remedy=_AGAIN)
    if post.border == "crop":
        raise UsageError(
            "masks cleaned at the border of the lung crop cannot be made anew", where=predictions,
            why="the crop was not kept", remedy="predict with postprocess.border=scan",
        )  # fmt: skip
    by_mask = {case.mask: case for case in cases}

    def cut_of(mask: Path) -> Cut:
        if mask.name not in by_mask:
            raise CaseError("the manifest does not know this mask", where=mask, remedy=_AGAIN)
        return _cut(predictions, by_mask[mask.name], post)

    return cut_of


def _cut(predictions: Path, case: PredictedCase, post: PostProcessing) -> Cut:
    folder = predictions / PROBABILITIES
    # Beside a DICOM-SEG lie probabilities as NRRD.
    name = case.mask if (folder / case.mask).is_file() else f"{case.case}.nrrd"
    if not (folder / name).is_file():
        raise CaseError("there are no probabilities of this scan", where=folder, remedy=_AGAIN)
    probability, image = reorient(read_probability(folder / name)), reorient(read_image(case.image))
    if difference := probability.grid.difference(image.grid):
        raise CaseError("the probabilities are not on the scan's grid", where=folder / name,
                        why=difference, remedy=_AGAIN)  # fmt: skip
    whole = Box((0, 0, 0), image.grid.size)

    def cut(threshold: float) -> Mask:
        mask = Volume(above(probability.array, threshold).astype(np.uint8), probability.grid)
        kept: Mask = post.apply(mask, image, whole).array > 0
        return kept

    return cut
