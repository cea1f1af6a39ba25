"""`python -m lnq.figures`: pictures of the method, of a store's cases or of a phantom."""

from __future__ import annotations

from lnq.config.help import answer_help

if __name__ == "__main__":
    answer_help("figures")  # before the imports below, which take seconds

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from lnq.config import Paths, command, instantiate
from lnq.console import console
from lnq.data.patches.example import example_patch
from lnq.data.store.case_store import CaseStore
from lnq.reporting import save
from lnq.reporting.corruption import corruption_figure


def _picture(path: Path) -> Path:
    if path.suffix not in (".png", ".svg"):
        raise ValueError("must end in .png or .svg")
    return path


Voxels = Annotated[int, Field(ge=1)]


@dataclass(frozen=True)
class FiguresConfig:
    """Root of conf/figures.yaml.

    Attributes:
        figure: `corruption`: what Model Genesis does to a patch, like the paper's Fig. 2.
        corruption: The rules of the corruption.
        store: Folder that `lnq.preprocess` wrote; None = a phantom made on the spot.
        case: Which case of the store; None = its first.
        patch_size: z, y, x in voxels.
        seed: Of patch and corruption.
        output: The picture, .png or .svg.
        paths: Where everything goes.
    """

    figure: Literal["corruption"]
    corruption: dict[str, Any]
    store: Path | None
    case: str | None
    patch_size: tuple[Voxels, Voxels, Voxels]
    seed: Annotated[int, Field(ge=0)]
    output: Annotated[Path, AfterValidator(_picture)]
    paths: Paths


@command("figures", FiguresConfig)
def main(cfg: FiguresConfig) -> int:
    """Draws a figure and says where it is."""
    corruption = instantiate(cfg.corruption)
    store = None if cfg.store is None else CaseStore(cfg.store)
    patch = example_patch(cfg.patch_size, store, cfg.case, cfg.seed)
    save(corruption_figure(patch, corruption, cfg.seed), cfg.output)
    console().print(f"the figure is {cfg.output}")
    return 0


if __name__ == "__main__":
    main()
