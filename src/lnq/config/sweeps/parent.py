"""Workers that do not outlive the sweep that began them."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

from hydra.experimental.callback import Callback

WATCH_SECONDS = 0.5


class EndsWithParent(Callback):
    """Ends a launcher's worker when the sweep is gone: a killed one cannot tell its workers.

    Training saves a checkpoint first, so that the same command goes on at once.
    """

    _watching = False

    def __init__(self) -> None:
        self.parent = os.getpid()  # where the sweep was begun, also once this is in a worker

    def on_job_start(self, config: Any, **_: Any) -> None:
        """Called by Hydra before the job, in the worker; also for what a queue still holds."""
        if os.getpid() == self.parent:
            return
        if os.getppid() != self.parent:
            os._exit(128 + signal.SIGTERM)
        if not EndsWithParent._watching:
            EndsWithParent._watching = True
            threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while os.getppid() == self.parent:
            time.sleep(WATCH_SECONDS)
        # Training takes the first one for a stop and saves; the worker, which would then wait for
        # another job for ever, handles none and ends by the next.
        while True:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(WATCH_SECONDS)
