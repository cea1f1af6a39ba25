"""A run's curves: read as they were written, refused where they were damaged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from support.mutations import mutated

from lnq.callbacks import CurvesLogger
from lnq.curves import last_logged, read_curves, read_rows
from lnq.errors import UsageError
from lnq.files import sha256, write_json
from lnq.run_folder import RunFolder


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run of twelve steps and two validations."""
    logger = CurvesLogger(tmp_path)
    for step in range(12):
        logger.log_metrics({"train/loss": 1 / (step + 1), "train/lr": 1e-05}, step)
        if step % 6 == 5:
            logger.log_metrics({"val/dice": step / 12, "epoch": step // 6}, step)
    return RunFolder(tmp_path)


def test_what_was_logged_is_read(run: RunFolder) -> None:
    assert_frame_equal(read_curves(run), pd.read_csv(run.curves, dtype=float))
    assert last_logged(run, "val/dice") == 11 / 12
    assert last_logged(run, "nothing") is None
    assert last_logged(RunFolder(run.path / "none"), "val/dice") is None


def test_no_damage_is_a_traceback_and_none_at_all_passes_at_the_end(run: RunFolder) -> None:
    content, rows = run.curves.read_bytes(), read_rows(run)
    (run.path / "ended").mkdir()
    ended = RunFolder(run.path / "ended")
    written = {"config": {"name": "run", "seed": 0}, "curves_sha256": sha256(run.curves)}
    write_json(ended.manifest, written)
    refused = 0
    for seed in range(150):
        run.curves.write_bytes(mutated(content, np.random.default_rng(seed)))
        ended.curves.write_bytes(run.curves.read_bytes())
        try:
            read_rows(run)
        except UsageError:
            refused += 1
        if ended.curves.read_bytes() != content:
            with pytest.raises(UsageError, match="manifest"):
                read_rows(ended)
    # The others are other digits and whole lines, which only a hash can tell.
    assert refused > 90
    ended.curves.write_bytes(content)
    assert read_rows(ended) == rows


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("0,1.0,2", "line 3: 3 values under 2 names"),
        ("0.5,1.0", "line 3: step is '0.5'"),
        (",1.0", "line 3: step is ''"),
        ("3,1_0", "line 3: train/loss is '1_0'"),
        ("3, 1.0", "line 3: train/loss is ' 1.0'"),
        ("1,1.0", "line 3: its step is before that of the line above"),
        ("", "line 3: 0 values under 2 names"),
    ],
)
def test_what_training_cannot_have_written_is_refused(tmp_path: Path, line: str, why: str) -> None:
    run = RunFolder(tmp_path)
    run.curves.write_text(f"step,train/loss\n2,nan\n{line}\n")
    with pytest.raises(UsageError, match="damaged") as refused:
        read_rows(run)
    assert why in str(refused.value)


def test_a_header_needs_its_names(tmp_path: Path) -> None:
    for header in ("step,step", "epoch,train/loss", "step,"):
        (tmp_path / "curves.csv").write_text(f"{header}\n1,1\n")
        with pytest.raises(UsageError, match="line 1: no header"):
            read_rows(RunFolder(tmp_path))
