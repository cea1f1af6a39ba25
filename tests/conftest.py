"""Fixtures that many tests share."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

if TYPE_CHECKING:
    from support.wandb_stub import WandbStub

pytest.register_assert_rewrite("support")
pytest_plugins = ["support.lanes", "support.train_command"]

# Tiny tensors gain nothing from threads, and bit-identical resuming holds for one thread count:
# the processes that tests start inherit this one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell has its background jobs ignore Ctrl-C; processes that tests interrupt would inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real scans (`LNQ_REAL_DATA`, else ../shared/data); skips without one."""
    folder = Path(os.environ.get("LNQ_REAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real scans: {folder} is missing (set LNQ_REAL_DATA)")
    return folder


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two partially annotated training cases and one complete validation case, a few voxels each.

    The nodes lie in corners of the volumes; `a` is smaller than the patch along z.
    """
    from support.stores import write_store

    rng = np.random.default_rng(0)
    cases = {}
    for case_id, size, split, supervision in (
        ("a", (3, 12, 10), "train", "partial"),
        ("b", (9, 11, 16), "train", "partial"),
        ("v", (5, 9, 12), "val", "full"),
    ):
        label = np.zeros(size, np.uint8)
        label[-1, :2, -2:] = 1
        image = rng.normal(0, 1, size).astype(np.float32) + 2 * label
        cases[case_id] = (image, label, split, supervision)
    return write_store(tmp_path_factory.mktemp("tiny") / "store", cases)


@pytest.fixture(autouse=True, scope="module")
def phantoms_drawn_once(request: pytest.FixtureRequest) -> Iterator[None]:
    """Datasets of phantoms share what is the same in them, except in tests of the phantom."""
    if request.path.name.startswith("test_phantom") or "lnq.data" not in sys.modules:
        yield
        return
    from support.phantoms import drawn_once

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lnq.data.phantom.dataset.make_case", drawn_once)
        yield


@pytest.fixture
def wandb_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbStub]:
    """The server that W&B finds in this process and those it starts."""
    import wandb
    from support.wandb_stub import wandb_stub

    with wandb_stub() as server:
        wandb.teardown()  # it keeps the settings it began with
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server
        wandb.teardown()


@pytest.fixture
def train() -> Callable[..., int]:
    """`train(*arguments)` runs `python -m lnq.train` in this process and gives its exit code."""
    from lnq.train import main

    def run(*arguments: object) -> int:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        return int(stop.value.code or 0)

    return run


@pytest.fixture(autouse=True)
def no_run_of_wandb_left() -> Iterator[None]:
    """The live run is global: one that a stopped training leaves would be the next test's."""
    yield
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish()
