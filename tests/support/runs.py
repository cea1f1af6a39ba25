"""Runs that are small."""

from __future__ import annotations

TINY = (
    "network.widths=[2,4]",
    "network.dropouts=[0.3]",
    "datamodule.patch_size=[4,8,8]",
    "datamodule.steps_per_epoch=4",
    "datamodule.num_workers=0",
    "trainer.max_epochs=2",
    "trainer.accelerator=cpu",
    "trainer.log_every_n_steps=1",
    "logger=csv",
    "callbacks.progress=null",
    "callbacks.panels=null",
)
"""Overrides of `lnq.train` that make a run of a second."""

PICTURED = tuple(item for item in TINY if item != "callbacks.panels=null")
"""The same with pictures, which take as long as all the rest."""
