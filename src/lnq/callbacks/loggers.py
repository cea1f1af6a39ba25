"""Weights & Biases without waiting: online where it can be, offline otherwise."""

from __future__ import annotations

import queue
import secrets
import socket
import threading
import warnings
from argparse import Namespace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse
from urllib.request import getproxies

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.loggers import WandbLogger

from lnq.files import write_text

CHECK_SECONDS = 8.0
"""How long it may take to find out whether the server can be used."""

ID_FILE = Path("wandb") / "id"
"""The W&B run of a run's folder."""


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
        log_model: Log the last checkpoint as an artefact when training ends well.
    """

    def __init__(
        self,
        project: str,
        name: str,
        save_dir: Path,
        mode: Literal["auto", "online", "offline", "disabled"] = "auto",
        group: str | None = None,
        log_model: bool = False,
    ) -> None:
        if mode == "auto":
            reason = why_offline()
            mode = "offline" if reason else "online"
            if reason:
                warnings.warn(f"W&B logs offline: {reason}", stacklevel=2)
        import wandb

        # Offline, the warning said what there is to say; online, refusal must not take 90 s.
        # What is printed stays here: it may name cases, and a bar would make it long.
        settings = wandb.Settings(
            silent=mode == "offline", init_timeout=CHECK_SECONDS, console="off"
        )
        options: dict[str, Any] = {"mode": mode, "group": group, "settings": settings}
        # Not `offline=True`: that sets WANDB_MODE for every later run of the process.
        super().__init__(
            name=name, save_dir=str(save_dir), project=project, save_code=False,
            log_model=log_model, **options,
        )  # fmt: skip
        self._id_file = save_dir / ID_FILE
        self.place: str | None = None
        # Lightning passes it on although W&B knows it no more, and warns.
        self._wandb_init.pop("anonymous", None)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run, begun on first use; offline where the server refuses it after all.

        A run whose folder has an id already goes on with the W&B run of that id.
        """
        from wandb.errors import Error

        if self._experiment is None and self._wandb_init["mode"] != "disabled":
            self._wandb_init["id"] = self._kept_id()
        try:
            return super().experiment
        except Error as error:
            if self._wandb_init["mode"] == "offline":
                raise
            warnings.warn(f"W&B logs offline: {str(error).splitlines()[0]}", stacklevel=2)
            self._wandb_init["mode"] = "offline"
            return super().experiment

    def log_hyperparams(
        self, params: dict[str, Any] | Namespace, *args: Any, **kwargs: Any
    ) -> None:
        """Adds to the run's configuration, without the ids of cases: they may be names."""
        super().log_hyperparams(_without_cases(params))

    def finalize(self, status: str) -> None:
        """Ends the W&B run, so that the next job of a sweep begins its own."""
        super().finalize(status)
        if self._experiment is not None:
            self.place = self._place(self._experiment)
            self._experiment.finish(exit_code=0 if status == "success" else 1)

    def _kept_id(self) -> str:
        """The id of the run's folder, made when it is first asked for."""
        if not self._id_file.exists():
            write_text(self._id_file, f"{secrets.token_hex(4)}\n")
        return self._id_file.read_text(encoding="utf-8").strip()

    def _place(self, run: Any) -> str | None:
        """Where the run can be seen: an address, or what sends it to one."""
        mode = self._wandb_init["mode"]
        if mode == "offline":
            return f"wandb sync {self._id_file.parent}/offline-run-*-{run.id}"
        return str(run.url) if mode == "online" else None


def _without_cases(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_cases(inner) for key, inner in value.items() if key != "cases"}
    return value


def why_offline() -> str | None:
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
