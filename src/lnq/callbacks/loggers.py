"""Weights & Biases without waiting: online where it can be, offline otherwise."""

from __future__ import annotations

import queue
import socket
import threading
import warnings
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse
from urllib.request import getproxies

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.loggers import WandbLogger

CHECK_SECONDS = 8.0
"""How long it may take to find out whether the server can be used."""


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

        # Offline, the warning said what there is to say; online, refusal must not take 90 s.
        settings = wandb.Settings(silent=mode == "offline", init_timeout=CHECK_SECONDS)
        options: dict[str, Any] = {"mode": mode, "group": group, "settings": settings}
        # Not `offline=True`: that sets WANDB_MODE for every later run of the process.
        super().__init__(
            name=name, save_dir=str(save_dir), project=project, save_code=False, **options
        )
        # Lightning passes it on although W&B knows it no more, and warns.
        self._wandb_init.pop("anonymous", None)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run, begun on first use; offline where the server refuses it after all."""
        from wandb.errors import Error

        try:
            return super().experiment
        except Error as error:
            if self._wandb_init["mode"] == "offline":
                raise
            warnings.warn(f"W&B logs offline: {str(error).splitlines()[0]}", stacklevel=2)
            self._wandb_init["mode"] = "offline"
            return super().experiment

    def finalize(self, status: str) -> None:
        """Ends the W&B run, so that the next job of a sweep begins its own."""
        super().finalize(status)
        if self._experiment is not None:
            self._experiment.finish(exit_code=0 if status == "success" else 1)


def _why_offline() -> str | None:
    """The reason that W&B cannot be used, or None; found within `CHECK_SECONDS`."""
    answers: queue.Queue[str | None] = queue.Queue()
    # A thread, because neither name resolution nor W&B's own start can be given a deadline.
    threading.Thread(target=lambda: answers.put(_obstacle()), daemon=True).start()
    try:
        return answers.get(timeout=CHECK_SECONDS)
    except queue.Empty:
        return f"its server did not answer within {CHECK_SECONDS:.0f} s"


def _obstacle() -> str | None:
    import wandb

    settings = wandb.setup().settings
    if settings.mode in ("offline", "disabled"):
        return f"WANDB_MODE is {settings.mode}"
    if not wandb.login(prompt=False, verify=False):
        return "no API key; run `wandb login` to log online"
    # Where there is a proxy, the proxy is what must answer.
    address = getproxies().get(urlparse(settings.base_url).scheme, settings.base_url)
    server = urlparse(address)
    port = server.port or (443 if server.scheme == "https" else 80)
    try:
        socket.create_connection((server.hostname or "", port), CHECK_SECONDS).close()
    except OSError as error:
        return f"{server.hostname} does not answer ({error})"
    return None
