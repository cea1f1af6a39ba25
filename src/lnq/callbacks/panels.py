"""Pictures of what the network makes of a few patches, every few epochs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np
import pytorch_lightning as pl
import torch
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from pydantic import Field
from torch import Tensor

from lnq.callbacks.only_reports import only_reports
from lnq.data.patches.batch import Batch
from lnq.run_folder import PANELS
from lnq.volume import Array

_COLUMN = 2.2
_DPI = 110
_OUTLINE = "#E69F00"  # seen on grey and on viridis
_BACKGROUND, _BACKGROUND_ALPHA = "#0072B2", 0.25


class Panels(pl.Callback):
    """Hands a picture of the training's first batch to every logger that takes images.

    The batch is always the same, so that the pictures are a history: of the branches, of the pseudo
    label, of the weight. It is taken after the first epoch, then every `every_n_epochs`, and after
    the last. The mean of each map in [0, 1] is logged as `panels/<name>`. No case is named in a
    picture: pictures leave the machine, ids may be names.

    Args:
        every_n_epochs: Epochs from one picture to the next.
        max_patches: Rows of a picture; the batch's first patches.
    """

    def __init__(
        self,
        every_n_epochs: Annotated[int, Field(ge=1)] = 25,
        max_patches: Annotated[int, Field(ge=1)] = 4,
    ) -> None:
        self.every_n_epochs = every_n_epochs
        self.max_patches = max_patches

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Called by Lightning after each epoch."""
        epoch = trainer.current_epoch
        is_due = epoch % self.every_n_epochs == 0 or epoch + 1 == trainer.max_epochs
        takers = [logger for logger in trainer.loggers if hasattr(logger, "log_image")]
        if not is_due or not takers or not trainer.is_global_zero:
            return
        batch = self._batch(trainer)
        with only_reports("the picture of the pseudo labels"):
            picture = self._drawn(trainer, pl_module, batch)
            step = trainer.global_step - 1  # steps count from 0, as those of the curves do
            for logger in takers:
                logger.log_image(PANELS, [picture], step=step, caption=[f"epoch={epoch:03d}"])

    def _drawn(self, trainer: pl.Trainer, pl_module: Any, batch: Batch) -> Array:
        """The picture; the means of its maps are logged."""
        pl_module.eval()
        # Compiled for training alone: once an epoch nothing is worth another minute of compiling.
        eager = torch.compiler.set_stance("force_eager")
        try:
            with torch.no_grad(), eager, trainer.precision_plugin.forward_context():
                intensities, fractions = pl_module.pictures(batch)
        finally:
            pl_module.train()
        means = {f"{PANELS}/{name}": values.mean() for name, values in fractions.items()}
        pl_module.log_dict(means, rank_zero_only=True, batch_size=len(batch["image"]))
        return draw(
            _numpy(intensities), _numpy(fractions), best_slices(batch),
            batch["label"].cpu().numpy(),
            known.cpu().numpy() if (known := batch.get("known_background")) is not None else None,
        )  # fmt: skip

    def _batch(self, trainer: Any) -> Batch:
        batch: dict[str, Any] = trainer.datamodule.first_batch()
        few = {name: values[: self.max_patches] for name, values in batch.items()}
        return trainer.precision_plugin.convert_input(trainer.strategy.batch_to_device(few))


def draw(
    intensities: Mapping[str, Array],
    fractions: Mapping[str, Array],
    slices: list[int],
    annotation: Array | None = None,
    background: Array | None = None,
) -> Array:
    """One row a patch, one column a volume, each by one axial slice.

    No side is named: augmentation mirrors patches.

    Args:
        intensities: By title, (b, 1, z, y, x); drawn in grey, a row's all on one scale.
        fractions: By title, (b, 1, z, y, x) in [0, 1]; drawn in colours of one scale.
        slices: z of the slice of each patch.
        annotation: (b, 1, z, y, x), outlined on every column.
        background: Known background, (b, 1, z, y, x): a tint on grey columns; a line below the
            picture says so.

    Returns:
        uint8 (height, width, 3).
    """
    columns = {**intensities, **fractions}
    size_y, size_x = next(iter(columns.values())).shape[-2:]
    height = _COLUMN * size_y / size_x * len(slices) + 0.3
    height += 0.2 * (background is not None)
    figure = Figure((_COLUMN * len(columns) + 0.6, height), dpi=_DPI, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots(len(slices), len(columns), squeeze=False)
    for row, z in enumerate(slices):
        shown = np.stack([volume[row, 0, z] for volume in intensities.values()])
        window = tuple(np.percentile(shown, (1, 99)))
        for place, (title, volume) in zip(axes[row], columns.items(), strict=True):
            grey = title in intensities
            low, high = window if grey else (0.0, 1.0)
            colours = "gray" if grey else "viridis"
            drawn = place.imshow(
                volume[row, 0, z], colours, vmin=low, vmax=high, interpolation="nearest"
            )
            if grey and background is not None:
                place.imshow(_tint(background[row, 0, z]), interpolation="nearest")
            if annotation is not None and (outlined := annotation[row, 0, z] > 0).any():
                place.contour(outlined, levels=[0.5], colors=[_OUTLINE], linewidths=0.9)
            _bare(place, title.replace("_", " ") if row == 0 else "")
        axes[row, 0].set_ylabel(f"patch {row + 1}, slice {z}", fontsize=8)
    if fractions:
        figure.colorbar(drawn, ax=axes[:, -1], shrink=0.9, pad=0.02).ax.tick_params(labelsize=7)
    if background is not None:
        figure.supxlabel("outlined: annotated; blue: known background; else unknown", fontsize=7)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _tint(mask: Array) -> Array:
    """A translucent colour where a mask (y, x) is, RGBA."""
    colour = np.array(to_rgba(_BACKGROUND, _BACKGROUND_ALPHA))
    return (mask > 0)[..., None] * colour


def _bare(place: Axes, title: str) -> None:
    place.set_title(title, fontsize=9)
    place.set_xticks([])
    place.set_yticks([])


def _numpy(volumes: Mapping[str, Tensor]) -> dict[str, Array]:
    return {name: values.float().cpu().numpy() for name, values in volumes.items()}


def best_slices(batch: Batch) -> list[int]:
    """Of each patch the slice with most annotated voxels, or the middle one."""
    depth = batch["image"].shape[2]
    counts = batch["label"].sum(dim=(1, 3, 4)).cpu()
    return [int(of_z.argmax()) if of_z.any() else depth // 2 for of_z in counts]
