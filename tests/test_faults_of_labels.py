"""Faults 20 to 32 of docs/explanation/faults.md through the real command; none stops the others."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from support.folders import touch
from support.synthetic_chest import GRID, chest

from lnq import preprocess
from lnq.data.store.case_store import CaseStore
from lnq.volume import Array, Grid, Volume, to_sitk

FLIPPED = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0)


def node() -> Array:
    label = np.zeros(GRID.size, np.uint8)
    label[28:32, 34:38, 46:50] = 1
    return label


def save(path: Path, array: Array, grid: Grid = GRID) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(to_sitk(Volume(array, grid)), path, useCompression=True)


def moved(**changes: object) -> Grid:
    return Grid(**{**GRID.__dict__, **changes})  # free choice of fields


def shifted(x_mm: float) -> Grid:
    return moved(origin_mm=(GRID.origin_mm[0] + x_mm, *GRID.origin_mm[1:]))


def add(root: Path, name: str, label: Array | None = None, grid: Grid = GRID,
        image: Array | None = None) -> None:  # fmt: skip
    scan = chest().array if image is None else image
    if image is None:
        scan[0, 0, 0] = -1000 + len(list(root.rglob("*-ct.nrrd")))
    save(root / f"train/{name}-ct.nrrd", scan)
    save(root / f"train/{name}-seg.nrrd", node() if label is None else label, grid)


def run(root: Path) -> int:
    settings = ("num_workers=0", "preprocessing.spacing_mm=[10,8,8]")
    with pytest.raises(SystemExit) as stop:
        preprocess.main([f"data.root={root}", f"paths.outputs={root.parent / 'out'}", *settings])
    return int(stop.value.code or 0)


@pytest.mark.slow
def test_bad_labels_fail_alone_and_good_ones_are_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "data"
    bad = {
        "r20": ({"label": node() * 255}, "0, 255"),
        "r21": ({"label": node() * np.float32(0.6)}, "0, 0.6"),
        "r21nan": ({"label": np.where(node() == 1, np.float32("nan"), 0)}, "nan"),
        "r22": ({"label": node().astype(np.int16) * 300}, "0, 300"),
        "r22image": (
            {"image": chest().array.astype(np.int32) + 40000 * node().astype(np.int32)},
            "40040",
        ),
        "r23": ({"grid": shifted(GRID.spacing_mm[2] / 2)}, "lies between the scan's voxels"),
        "r24": ({"grid": moved(direction=FLIPPED)}, "direction"),
        "r24z": ({"grid": moved(spacing_mm=(2.5, 4.0, 4.0))}, "spacing"),
    }
    good = {
        "r25": ({"label": node()[:40], "grid": GRID.crop((0, 0, 0), (40, 72, 96))}, "placed"),
        "r25origin": ({"label": node()[5:], "grid": GRID.crop((5, 0, 0), (60, 72, 96))}, "placed"),
        "r26": ({"grid": shifted(1e-4)}, ""),
        "r27": ({"label": node() * 0}, "holds no annotated voxel"),
        "r32 é <script>": ({}, ""),
    }
    for name, (damage, _) in {**bad, **good}.items():
        add(root, name, **damage)
    assert run(root) == 3
    store = tmp_path / "out/preprocess/lnq2023"
    failures = {one["case"]: one for one in json.loads((store / "failures.json").read_text())}
    assert sorted(failures) == sorted(bad)
    for name, (_, why) in bad.items():
        entry = failures[name]
        assert why.lower() in str(entry).lower(), name
        assert name in entry["where"]
        assert entry["remedy"]
    cases = CaseStore(store)
    assert cases.case_ids() == sorted(good)
    for name, (_, note) in good.items():
        record = cases.record(name)
        assert note in "; ".join(record.notes), name
        assert bool(record.notes) == bool(note), name
        assert (record.num_foreground > 0) == (name != "r27"), name
    reference = cases.label("r26")
    for name in ("r25", "r25origin"):
        assert np.array_equal(cases.label(name), reference), name
    said = capsys.readouterr()
    assert "1 with an empty label" in said.out
    assert "Traceback" not in said.out + said.err


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda root: touch(root, "train/b-seg.nrrd"), "labels without a scan"),  # 28
        (lambda root: touch(root, "val/a-ct.nrrd"), "same case id"),  # 29
        (lambda root: touch(root, "train/new\nline-ct.nrrd"), "cannot be file names"),  # 30, 32
        (lambda root: (root / "train/b-ct.nrrd").symlink_to("/etc/passwd"), "outside the data"),
    ],
)
def test_a_list_that_is_unsound_is_refused_before_any_work(
    tmp_path: Path,
    make: Callable[[Path], object],
    why: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    root = tmp_path / "data"
    touch(root, "train/a-ct.nrrd")
    make(root)
    assert run(root) == 2
    assert why in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["../../etc/x", "/etc/x"])
def test_ids_that_would_escape_are_refused(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Fault 30: only a table can hold such an id."""
    root = tmp_path / "data"
    touch(root, "a.nrrd")
    (root / "cases.csv").write_text(f"id,image\n{name},a.nrrd\n")
    assert run(root) == 2
    assert "cannot be file names" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
