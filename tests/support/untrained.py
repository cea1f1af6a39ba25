"""A run that nobody trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from lnq.networks import DualBranchVNet
from lnq.run_folder import RunFolder


def untrained_run(
    folder: Path,
    patch_size: tuple[int, int, int],
    preprocessing: Mapping[str, Any],
    out_channels: int = 2,
    seed: int = 0,
    config: Mapping[str, Any] = MappingProxyType({}),
    record: Mapping[str, Any] = MappingProxyType({}),
) -> Path:
    """A run folder whose network has random weights: it marks about half of a scan.

    `config` and `record` are what its checkpoint says besides.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = DualBranchVNet(1, out_channels, widths=(4, 8), dropouts=(0.05,))
    node = {
        "_target_": "lnq.networks.DualBranchVNet", "out_channels": out_channels, "widths": [4, 8],
        "dropouts": [0.05],
    }  # fmt: skip
    contents = {
        "state_dict": {f"network.{key}": value for key, value in network.state_dict().items()},
        "lnq": {
            "config": {
                "network": node,
                "datamodule": {"patch_size": list(patch_size)},
                **config,
            },
            "preprocessing": dict(preprocessing),
            **record,
        },
    }
    path = RunFolder(folder).checkpoint
    path.parent.mkdir(parents=True)
    torch.save(contents, path)
    return folder
