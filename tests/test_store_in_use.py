"""A store while it is trained on: damaged, rebuilt, or copied elsewhere."""

from __future__ import annotations

import io
import os
import pickle
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.runs import TINY

from lnq.callbacks import StepSeed
from lnq.data.store.case_folder import ARRAYS
from lnq.data.store.case_store import CaseStore
from lnq.errors import CaseError
from lnq.files import sha256

Train = Callable[..., int]

RUN = ("+experiment=dbdmp", *TINY, "callbacks.ramp_up.t_max=0")
ALL_KNOWN = ("method.mode=recommended", "datamodule.known_background.beyond_lungs_mm=250")


@pytest.fixture
def store(tiny_store: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_store, tmp_path / "store"))


@pytest.fixture
def known_store(store: Path) -> Path:
    """The same with masks of background and distances, none of which says anything."""
    built = CaseStore(store)
    for case_id in ("a", "b"):
        record = built.record(case_id)
        size = record.grid.size
        record = replace(record, background_sha256="2" * 64, chest_grid=record.grid)
        field = np.array(built.label_field(case_id), np.float32) / 32
        nothing = np.zeros(size, bool), np.zeros((2, *size), np.uint8)
        built.write(record, np.array(built.image(case_id), np.float32), field, *nothing)
    return store


def flip(path: Path) -> None:
    """Changes a bit of the last value."""
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.training
@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("name", ARRAYS)
def test_a_damaged_array_ends_a_training(
    known_store: Path, tmp_path: Path, train: Train, capsys: pytest.CaptureFixture[str],
    name: str, workers: int,
) -> None:  # fmt: skip
    for case_id in ("a", "b"):
        flip(known_store / "cases" / case_id / name)
    code = train(*RUN, *ALL_KNOWN, f"store={known_store}", f"run_dir={tmp_path}/run",
                 f"datamodule.num_workers={workers}")  # fmt: skip
    assert code == 4
    said = capsys.readouterr().err
    assert f"/{name}" in said
    assert "not what was recorded" in said
    assert "Traceback" not in said


def with_header(header: str) -> bytes:
    array, content = np.ones((2, 3), np.int32), io.BytesIO()
    np.save(content, array)
    return content.getvalue()[:10] + header.ljust(117).encode() + b"\n" + array.tobytes()


@pytest.mark.parametrize(
    "header",
    ["{'descr': '<i4', 'fortran_order': False, 'shape': (1000000000, 3), }",
     "{'descr': '<i4', 'fortran_order': False, 'shape': (True, 3), }",
     "{'descr': '<f2', 'fortran_order': False, 'shape': (2, 3), }",
     "{'descr': '|O', 'fortran_order': False, 'shape': (2, 3), }",
     "{'descr': '<i4', 'fortran_order': False, 'shape': (2, 3)", "'''", "(" * 100, ""],
)  # fmt: skip
@pytest.mark.parametrize("name", ARRAYS)
def test_a_header_that_its_hash_vouches_for(known_store: Path, name: str, header: str) -> None:
    """A stranger's store holds right hashes, too."""
    path = known_store / "cases" / "a" / name
    path.write_bytes(with_header(header))
    reader = CaseStore(known_store)
    reader.record("a")
    reader._hashes["a"][name] = sha256(path)
    read = {
        "image.npy": reader.image, "label_field.npy": reader.label_field,
        "foreground.npy": reader.foreground, "background.npy": reader.background,
        "chest.npy": lambda case_id: reader.distance(case_id, 0),
    }  # fmt: skip
    with pytest.raises(CaseError, match=name):
        read[name]("a")


@pytest.mark.training
def test_a_damaged_volume_ends_a_validation(
    store: Path, tmp_path: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    flip(store / "cases" / "v" / "image.npy")
    code = train(*RUN, f"store={store}", f"run_dir={tmp_path}/run",
                 "trainer.check_val_every_n_epoch=1")  # fmt: skip
    assert code == 4
    assert "not what was recorded" in capsys.readouterr().err


@pytest.mark.training
@pytest.mark.parametrize("workers", [0, 1])
def test_a_store_rebuilt_under_a_training_ends_it(
    store: Path, tmp_path: Path, train: Train, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], workers: int,
) -> None:  # fmt: skip
    original = StepSeed.on_train_batch_start

    def rebuild(self: StepSeed, trainer: Any, *rest: Any) -> None:
        if trainer.global_step == 4:
            built = CaseStore(store)
            for case_id in ("a", "b"):
                image = np.array(built.image(case_id), np.float32)
                field = np.array(built.label_field(case_id), np.float32) / 32
                built.write(built.record(case_id), image + 1, field)
        original(self, trainer, *rest)

    monkeypatch.setattr(StepSeed, "on_train_batch_start", rebuild)
    code = train(*RUN, f"store={store}", f"run_dir={tmp_path}/run", "trainer.max_epochs=3",
                 f"datamodule.num_workers={workers}")  # fmt: skip
    assert code == 4
    assert "was rebuilt since" in capsys.readouterr().err


@pytest.mark.process
def test_each_array_is_read_in_full_once(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    original = CaseStore.__init__.__globals__["CheckedFiles"].holds.__globals__["sha256"]
    monkeypatch.setattr(
        "lnq.data.store.checked_files.sha256", lambda path: (read.append(path), original(path))[1]
    )
    opened = CaseStore(store)
    child = os.fork()
    if child == 0:  # a worker
        code = 1
        try:
            opened.image("a")
            code = 0 if len(read) == 1 else 2
        finally:
            os._exit(code)
    assert os.waitpid(child, 0)[1] == 0
    for _ in range(3):
        opened.image("a")
    assert read == []
    other = pickle.loads(pickle.dumps(opened))
    other.image("a")
    assert len(read) == 1
    flip(store / "cases" / "a" / "image.npy")
    with pytest.raises(CaseError, match="not what was recorded"):
        opened.image("a")


@pytest.mark.training
def test_a_store_copied_elsewhere_is_resumed_from(
    store: Path, tmp_path: Path, train: Train, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = shutil.copytree(store, tmp_path / "scratch" / "job-7")
    run = (*RUN, f"run_dir={tmp_path}/run")
    assert train(*run, f"store={store}") == 0
    assert train(*run, f"store={elsewhere}", "ckpt_path=last") == 0
    built = CaseStore(elsewhere)
    built.write(built.record("a"), np.array(built.image("a"), np.float32) + 1,
                np.array(built.label_field("a"), np.float32) / 32)  # fmt: skip
    capsys.readouterr()
    assert train(*run, f"store={elsewhere}", "ckpt_path=last") == 2
    assert "store_sha256=" in capsys.readouterr().err
