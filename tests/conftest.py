"""Fixtures that many tests share."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from wandb_stub import WandbStub, wandb_stub

REPOSITORY = Path(__file__).parents[1]

# Tiny tensors gain nothing from threads, and bit-identical resuming holds for one thread count:
# the processes that tests start inherit this one.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell has its background jobs ignore Ctrl-C; processes that tests interrupt would inherit it.
signal.signal(signal.SIGINT, signal.default_int_handler)

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
)
"""Overrides of `lnq.train` that make a run of a second or two."""


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real scans (`LNQ_REAL_DATA`, else ../shared/data); skips without one."""
    folder = Path(os.environ.get("LNQ_REAL_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no real scans: {folder} is missing (set LNQ_REAL_DATA)")
    return folder


OUT_OF_MEMORY = (
    MemoryError("Unable to allocate 656. MiB for an array"),
    RuntimeError("Exception thrown in SimpleITK ...\nFailed to allocate memory for image."),
    RuntimeError(
        "[enforce fail at alloc_cpu.cpp:114] . DefaultCPUAllocator: can't allocate memory"
    ),
)
"""As numpy, ITK and torch say it."""


def names(folder: Path) -> list[str]:
    """What lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


def fill_disk_under(path: Path) -> None:
    """The next atomic write of a file meets a device that is full."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(f".{os.getpid()}.tmp.{path.name}").symlink_to("/dev/full")


def write_store(
    root: Path, cases: dict[str, tuple[np.ndarray, np.ndarray | None, str, str]]
) -> Path:
    """A store as `lnq.preprocess` leaves it.

    Args:
        root: Where.
        cases: By id: normalised image z y x, label or None, split, supervision.
    """
    from lnq.data.store.case_store import CaseStore
    from lnq.data.store.preprocessing import Preprocessing
    from lnq.data.store.record import CaseRecord
    from lnq.files import write_json
    from lnq.volume import Grid

    settings = Preprocessing(spacing_mm=(3.0, 1.0, 1.0)).as_dict()
    write_json(root / "manifest.json", {"settings": settings, "cases": list(cases)})
    store = CaseStore(root)
    for case_id, (image, label, split, supervision) in cases.items():
        grid = Grid(image.shape, (3.0, 1.0, 1.0))
        record = CaseRecord(
            case_id, split, supervision, case_id, Path(f"/scans/{case_id}.nrrd"),
            None if label is None else Path(f"/labels/{case_id}.nrrd"), "0" * 64,
            None if label is None else "1" * 64, case_id, grid, grid, -500.0, 400.0,
            0 if label is None else int(label.sum()), lungs_found=True,
        )  # fmt: skip
        store.write(record, image, label)
    return root


@pytest.fixture(scope="session")
def tiny_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two partially annotated training cases and one complete validation case, a few voxels each.

    The nodes lie in corners of the volumes; `a` is smaller than the patch along z.
    """
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


@pytest.fixture
def wandb_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[WandbStub]:
    """The server that W&B finds in this process and those it starts."""
    import wandb

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
