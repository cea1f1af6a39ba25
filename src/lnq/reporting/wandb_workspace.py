"""The W&B dashboard of a project, as code."""

from __future__ import annotations

from collections.abc import Sequence

import wandb
import wandb_workspaces.reports.v2 as wr
import wandb_workspaces.workspaces as ws
from wandb.sdk.lib.service.service_connection import WandbApiFailedError  # nowhere public

from lnq.errors import RunError, UsageError
from lnq.run_folder import PANELS

STEP = "trainer/global_step"
CURVES: dict[str, dict[str, tuple[str, ...]]] = {
    "Result": {"Dice on validation cases": ("val/dice",)},
    "Losses": {
        "Loss": ("train/loss",),
        "Supervised and pseudo-label part": ("train/loss_sup", "train/loss_pseudo"),
        "Terms of the supervised part": (
            "train/ce", "train/sce", "train/pce", "train/tversky", "train/dice",
        ),
        "Terms of the pseudo-label part": ("train/pseudo_klce", "train/pseudo_dice"),
        "Restoration (pre-training)": ("train/mse_main", "train/mse_aux"),
    },
    "Schedules": {"λ_p": ("train/lambda_p",), "Learning rate": ("train/lr",)},
    "Pseudo labels of the first batch": {
        "Mean foreground": (
            "panels/annotation", "panels/main", "panels/aux", "panels/pseudo_label",
        ),
        "Mean weight W": ("panels/weight",),
    },
    "Performance": {
        "Patches a second": (
            "perf/patches_per_second", "perf/patches_per_second_per_gpu",
        ),
        "Waiting for patches, s a step": ("perf/wait_seconds",),
        "Peak memory, GB": ("perf/memory_gb", "perf/gpu_memory_gb"),
    },
}  # fmt: skip
"""Sections, their plots, and what each plot shows: the names that training logs."""


def save_dashboard(entity: str | None, project: str, name: str) -> str:
    """Makes the dashboard in W&B.

    Args:
        entity: As for `dashboard`; None = the default one of the API key.
        project: As for `dashboard`.
        name: As for `dashboard`.

    Returns:
        Its address.

    Raises:
        RunError: The server refuses it.
    """
    try:
        owner = entity or wandb.Api().default_entity
        if owner is None:
            raise UsageError(
                "whose dashboard?", where="entity", why="the API key has no default one",
                remedy="give entity=NAME",
            )  # fmt: skip
        return str(dashboard(owner, project, name).save().url)
    except (wandb.Error, WandbApiFailedError) as error:
        raise RunError(
            "W&B does not take the dashboard", where=f"project={project}", why=str(error),
            remedy="see that the key is right and may write to the project",
        ) from error  # fmt: skip


def dashboard(entity: str, project: str, name: str) -> ws.Workspace:
    """The dashboard; nothing is sent before its `save()`.

    Args:
        entity: W&B's name of the user or team.
        project: W&B project.
        name: Of the dashboard.
    """
    sections = [
        ws.Section(section, panels=[_plot(title, keys) for title, keys in plots.items()])
        for section, plots in CURVES.items()
    ]
    pictures = wr.MediaBrowser(title="Pictures", media_keys=[PANELS], num_columns=1)
    sections.insert(1, ws.Section("Pictures", panels=[pictures]))
    for section in sections:
        section.is_open = True
    return ws.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=sections,
        settings=ws.WorkspaceSettings(x_axis=STEP),
        runset_settings=ws.RunsetSettings(
            groupby=[ws.Metric("Group")], pinned_columns=["summary:val/dice", "summary:train/loss"]
        ),
    )


def _plot(title: str, keys: Sequence[str]) -> wr.LinePlot:
    return wr.LinePlot(title=title, x=STEP, y=list(keys))
