"""The synthetic thorax as a dataset like any other."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

from pydantic import Field
from rich.progress import track

from lnq.console import console
from lnq.data.case import Case
from lnq.data.datasets.knowledge import Names
from lnq.data.datasets.lnq2023 import Lnq2023Layout
from lnq.data.phantom import AnnotationPolicy, PhantomDataset
from lnq.data.phantom.dataset import ORGANS


class PhantomLayout:
    """The phantom dataset, which it can write.

    Args:
        root: Where it is written, in the challenge's folders.
        policy: Which nodes of a training case are annotated.
        num_train: Number of training cases.
        num_val: Number of completely annotated cases.
        num_test: Number of cases without a label beside them.
        seed: The same seed gives the same scans.
        size_yx: Rows and columns of a slice.
        num_full: Of the training cases the first so many are completely annotated,
        num_none: and the last so many not at all; the others partially.
        organs: Write masks of organs, too, and take them for known background.
        background_names: Which of them count; see `lnq.data.datasets.knowledge`.
    """

    def __init__(
        self,
        root: Path,
        policy: AnnotationPolicy,
        num_train: Annotated[int, Field(ge=0)],
        num_val: Annotated[int, Field(ge=0)],
        num_test: Annotated[int, Field(ge=0)],
        seed: Annotated[int, Field(ge=0)],
        size_yx: Annotated[int, Field(ge=32, le=512)],
        num_full: Annotated[int, Field(ge=0)] = 0,
        num_none: Annotated[int, Field(ge=0)] = 0,
        organs: bool = False,
        background_names: Names = None,
    ) -> None:
        self.background_names = background_names
        self.dataset = PhantomDataset(
            root=Path(root),
            policy=policy,
            num_train=num_train,
            num_val=num_val,
            num_test=num_test,
            seed=seed,
            size_yx=size_yx,
            num_full=num_full,
            num_none=num_none,
            organs=organs,
        )

    def write(self) -> None:
        """Writes what is not on the disk yet.

        Raises:
            UsageError: `root` holds a phantom of other settings, or no case is asked for.
        """
        err = console(stderr=True)
        self.dataset.write(
            functools.partial(
                track,
                description="phantom",
                console=err,
                transient=True,
                disable=not err.is_terminal,
            )
        )

    def cases(self) -> list[Case]:
        """The dataset's cases, ordered by id.

        Raises:
            UsageError: It is not written yet.
        """
        root = self.dataset.root
        organs = root / ORGANS if self.dataset.organs else None
        return Lnq2023Layout(root, organs, self.background_names).cases()
