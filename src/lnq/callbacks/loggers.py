"""Weights & Biases without waiting: online where it can be, offline otherwise."""

from __future__ import annotations

import os
import queue
import re
import secrets
import shlex
import ssl
import threading
import urllib.error
import urllib.request
import warnings
from argparse import Namespace
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlparse

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.loggers import WandbLogger

from lnq.callbacks.only_reports import reporting
from lnq.callbacks.wandb_environment import MODE, leave_out_odd_variables
from lnq.files import write_text
from lnq.run_folder import RunFolder

CHECK_SECONDS = 8.0
"""How long it may take to find out whether the server can be used."""

FINISH_SECONDS = 10.0
"""How long the end of training may wait for what was not sent yet."""

MODEL_SECONDS = 600.0
"""The same where a checkpoint is to be sent."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LESS = {"online": "offline", "offline": "disabled"}
"""What is tried where W&B does not begin: it only reports, and ends no run."""


@reporting("W&B's log", "log_metrics", "log_hyperparams", "log_image", "finalize")
class OfflineFirstWandbLogger(WandbLogger):
    """Lightning's W&B logger that never prompts, waits or fails.

    `mode="auto"` is online where a key is found and the server answers within seconds, else
    offline with a warning; an offline run is sent later by `wandb sync`. `online` asks for the key
    alone before W&B is begun.

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
        if leave_out_odd_variables() and mode == "auto":
            mode = "offline"
        if mode == "auto" and os.environ.get(MODE) == "disabled":
            mode = "disabled"
        if mode in ("auto", "online"):
            reason = why_offline() if mode == "auto" else _within_seconds(_no_key)
            mode = "offline" if reason else "online"
            if reason:
                warnings.warn(f"W&B logs offline: {reason}", stacklevel=2)
        import wandb

        # Offline, the warning said what there is to say; online, refusal must not take 90 s.
        # What is printed stays here: it may name cases, and a bar would make it long.
        settings = wandb.Settings(
            silent=mode == "offline", console="off", init_timeout=CHECK_SECONDS,
            finish_timeout=MODEL_SECONDS if log_model else FINISH_SECONDS,
            finish_timeout_raises=True,
        )  # fmt: skip
        options: dict[str, Any] = {"mode": mode, "group": group, "settings": settings}
        # Not `offline=True`: that sets WANDB_MODE for every later run of the process.
        super().__init__(
            name=name, save_dir=str(save_dir), project=project, save_code=False,
            log_model=log_model, **options,
        )  # fmt: skip
        self._id_file = RunFolder(save_dir).wandb_id
        self.place: str | None = None
        # Lightning passes it on although W&B knows it no more, and warns.
        self._wandb_init.pop("anonymous", None)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run, begun on first use; offline where the server refuses it after all.

        A run whose folder has an id already goes on with the W&B run of that id.
        """
        import wandb

        if self._experiment is None and self._wandb_init["mode"] != "disabled":
            self._wandb_init["id"] = self._kept_id()
        try:
            return super().experiment
        except Exception as error:  # not all of W&B's are a `wandb.Error`
            less = _LESS.get(self._wandb_init["mode"])
            if less is None:
                raise
            wandb.teardown()  # the attempt that was given up still holds the run's id
            why = (str(error).strip() or type(error).__name__).splitlines()[0]
            warnings.warn(
                f"W&B logs {'offline' if less == 'offline' else 'nothing'}: {why}", stacklevel=2
            )
            self._wandb_init["mode"] = less
            return self.experiment

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
            try:
                self._experiment.finish(exit_code=0 if status == "success" else 1)
            except TimeoutError:
                self.place = self._sync("--include-online {}/run", self._experiment)
                warnings.warn(
                    f"W&B's server did not take everything; it is kept for `{self.place}`",
                    stacklevel=2,
                )

    def _kept_id(self) -> str:
        """The id of the run's folder, made when it is first asked for."""
        if self._id_file.exists():
            kept = self._id_file.read_text(encoding="utf-8", errors="replace").strip()
            if _ID.fullmatch(kept):
                return kept
            warnings.warn(f"a new W&B run: {self._id_file} is damaged", stacklevel=2)
        write_text(self._id_file, f"{secrets.token_hex(4)}\n")
        return self._id_file.read_text(encoding="utf-8").strip()

    def _place(self, run: Any) -> str | None:
        """Where the run can be seen: an address, or what sends it to one."""
        mode = self._wandb_init["mode"]
        if mode == "offline":
            return self._sync("{}/offline-run", run)
        return str(run.url) if mode == "online" else None

    def _sync(self, sessions: str, run: Any) -> str:
        """The command that sends what sessions left in the run's folder."""
        folder = shlex.quote(str(self._id_file.parent))
        return f"wandb sync {sessions.format(folder)}-*-{run.id}"


def _without_cases(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_cases(inner) for key, inner in value.items() if key != "cases"}
    return value


def why_offline() -> str | None:
    """The reason that W&B cannot be used, or None; found within `CHECK_SECONDS`."""
    return _within_seconds(_obstacle)


def _within_seconds(question: Callable[[], str | None]) -> str | None:
    """The answer, or that there was none within `CHECK_SECONDS`."""
    answers: queue.Queue[str | None] = queue.Queue()
    # A thread, because neither name resolution nor W&B's own start can be given a deadline.
    threading.Thread(target=lambda: answers.put(question()), daemon=True).start()
    try:
        return answers.get(timeout=CHECK_SECONDS)
    except queue.Empty:
        return f"its server did not answer within {CHECK_SECONDS:.0f} s"


def _obstacle() -> str | None:
    import wandb

    settings = wandb.setup().settings
    if settings.mode in ("offline", "disabled"):
        return f"WANDB_MODE is {settings.mode}"
    return _no_key() or _no_answer(settings.base_url)


def _no_key() -> str | None:
    import wandb

    if not wandb.login(prompt=False, verify=False):
        return "no API key; run `wandb login` to log online"
    return None


def _no_answer(url: str) -> str | None:
    """Why a server, or the proxy before it, does not answer; whatever it answers will do."""
    try:
        urllib.request.urlopen(url, timeout=CHECK_SECONDS).close()
    except urllib.error.HTTPError as error:
        if error.code in (HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT):
            return f"{url} is not reached ({error})"
    except OSError as error:
        # W&B has certificates of its own to judge by.
        if not isinstance(getattr(error, "reason", None), ssl.SSLCertVerificationError):
            return f"{urlparse(url).hostname} does not answer ({error})"
    return None
