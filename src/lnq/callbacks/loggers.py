"""Weights & Biases without waiting: online where it can be, offline otherwise."""

from __future__ import annotations

import socket
import warnings
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse

from pytorch_lightning.loggers import WandbLogger

CONNECT_SECONDS = 3.0


class OfflineFirstWandbLogger(WandbLogger):
    """Lightning's W&B logger that never prompts, waits or fails.

    `mode="auto"` is online where a key is found and the server answers within seconds, else
    offline with a warning; an offline run is sent later by `wandb sync`.

    Args:
        project: W&B project.
        name: Name of the run.
        save_dir: Folder for W&B's files; it is there when the run begins.
        mode: `auto`, `online`, `offline` or `disabled`.
        group: Runs shown together, such as a sweep.
    """

    def __init__(
        self,
        project: str,
        name: str,
        save_dir: Path,
        mode: Literal["auto", "online", "offline", "disabled"] = "auto",
        group: str | None = None,
    ) -> None:
        if mode == "auto":
            reason = _why_offline()
            mode = "offline" if reason else "online"
            if reason:
                warnings.warn(f"W&B logs offline: {reason}", stacklevel=2)
        import wandb

        silent = wandb.Settings(silent=mode == "offline")  # the warning said what there is to say
        options: dict[str, Any] = {"mode": mode, "group": group, "settings": silent}
        # Not `offline=True`: that sets WANDB_MODE for every later run of the process.
        super().__init__(
            name=name, save_dir=str(save_dir), project=project, save_code=False, **options
        )
        # Lightning passes it on although W&B knows it no more, and warns.
        self._wandb_init.pop("anonymous", None)

    def finalize(self, status: str) -> None:
        """Ends the W&B run, so that the next job of a sweep begins its own."""
        super().finalize(status)
        if self._experiment is not None:
            self._experiment.finish(exit_code=0 if status == "success" else 1)


def _why_offline() -> str | None:
    """The reason that W&B cannot be reached, or None."""
    import wandb

    settings = wandb.setup().settings
    if settings.mode in ("offline", "disabled"):
        return f"WANDB_MODE is {settings.mode}"
    if not wandb.login(prompt=False, verify=False):
        return "no API key; run `wandb login` to log online"
    server = urlparse(settings.base_url)
    port = server.port or (443 if server.scheme == "https" else 80)
    try:
        socket.create_connection((server.hostname or "", port), CONNECT_SECONDS).close()
    except OSError as error:
        return f"{server.hostname} does not answer ({error})"
    return None
