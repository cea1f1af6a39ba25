"""Pictures of slices: what is outlined as what, where it lies, which slices are chosen."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from support.report_runs import FALSE, GRID, LARGE, SMALL, block, make_run, report
from support.stores import write_store

from lnq.data.store.case_store import CaseStore
from lnq.evaluation import evaluate_folders
from lnq.reporting import read_runs
from lnq.reporting.cases import CaseView, by_scan, view_case
from lnq.reporting.scenes import Layers, Scene, layers_of
from lnq.reporting.slices import LADDER, UNITS_PER_MM, Quality, draw_stack, fitting_stack, outline
from lnq.volume import Array, Grid, Volume

PLENTY = 10_000_000


def whole(layers: Layers, size: tuple[int, ...]) -> dict[str, Array]:
    """The masks on the whole grid."""
    found = {key: np.zeros(size, dtype=np.uint8) for key in layers.masks}
    for key, mask in layers.masks.items():
        found[key][layers.box.slices] = mask
    return found


def test_layers_sort_nodes_and_predictions() -> None:
    layers = layers_of(LARGE | SMALL, (LARGE | FALSE) > 0, None, {1: True, 2: False}, kind="binary")
    expected = {"found": LARGE, "missed": SMALL, "prediction": LARGE, "false_positive": FALSE}
    found = whole(layers, LARGE.shape)
    assert found.keys() == expected.keys()
    for key, mask in expected.items():
        np.testing.assert_array_equal(found[key], mask)


def test_numbered_references_keep_touching_nodes_apart() -> None:
    label = LARGE.copy()
    label[3:][label[3:] > 0] = 4
    layers = layers_of(label, label == 4, label == 1, {1: False, 4: True}, kind="instances")
    found = whole(layers, label.shape)
    np.testing.assert_array_equal(found["missed"], label == 1)
    np.testing.assert_array_equal(found["found"], label == 4)
    np.testing.assert_array_equal(found["annotated"], label == 1)


def corners(path: str) -> list[tuple[int, int]]:
    """The corners of one closed path."""
    start, steps = re.fullmatch(r"M(.*)l(.*)z", path).groups()
    moves = np.fromstring(f"{start} {steps}", sep=" ").reshape(-1, 2)
    return [(int(x), int(y)) for x, y in moves.cumsum(axis=0)]


def test_outlines_lie_around_their_voxels_in_millimetres() -> None:
    section = np.zeros((6, 8), dtype=bool)
    section[2:4, 3:7] = True
    path = outline(section, (10, 20), (2.0, 1.0))
    x, y = np.array(corners(path)).T
    # Columns 23 to 26 of 1 mm: from 23 to 27 mm; rows 12 and 13 of 2 mm: from 24 to 28 mm.
    assert (x.min(), x.max()) == (23 * UNITS_PER_MM, 27 * UNITS_PER_MM)
    assert (y.min(), y.max()) == (24 * UNITS_PER_MM, 28 * UNITS_PER_MM)


def picture(source: str) -> Array:
    """Grey values of a `data:` address."""
    data = base64.b64decode(source.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(data)).convert("L")) / 255


def test_pictures_and_outlines_lie_on_each_other() -> None:
    """A bright block at the patient's right and front is at the left and top, in its outline."""
    grid = Grid((20, 90, 100), (5.0, 3.0, 2.0))
    node = np.zeros(grid.size, dtype=bool)
    node[4:9, 30:42, 20:40] = True
    scan = Volume(np.where(node, 1000, -1000).astype(np.int16), grid)
    layers = layers_of(node.astype(np.uint8), node, None, {1: True}, kind="binary")
    stack = draw_stack(Scene(scan, {0: layers}), [6], LADDER[0])
    assert stack.numbers == list(range(1, 12))
    shown = picture(stack.frames[stack.nearest(6)].image)
    rows, columns = np.nonzero(shown > 0.5)
    x, y = np.array(corners(stack.frames[stack.nearest(6)].outlines[0]["found"])).T
    width, height = stack.width / shown.shape[1], stack.height / shown.shape[0]
    assert (width, height) == (20, 30)
    box = columns.min() * width, (columns.max() + 1) * width
    assert (x.min(), x.max()) == pytest.approx(box, abs=width)
    assert (y.min(), y.max()) == pytest.approx(
        (rows.min() * height, (rows.max() + 1) * height), abs=height
    )
    assert x.max() < 0.6 * stack.width
    assert stack.frames[0].words == "slice 2 of 20, z 5 mm"
    assert stack.frames[0].outlines[0] == {}


@pytest.mark.slow
def test_masks_of_background_are_a_tint_with_a_legend(tmp_path: Path) -> None:
    run = make_run(tmp_path, {"a": (LARGE, LARGE), "b": (SMALL, LARGE)})
    assert report(f"run={run}", f"output={tmp_path}/plain.html") == 0
    plain = (tmp_path / "plain.html").read_text()
    assert "masks of background" not in plain
    manifest = json.loads((run / "predictions/manifest.json").read_text())
    for entry in manifest["cases"]:
        entry["image_sha256"] = f"{entry['case']:0>64}"
    (run / "predictions/manifest.json").write_text(json.dumps(manifest))
    organ = block(slice(0, 4), slice(12, 18), slice(1, 9)) > 0
    empty = np.zeros(GRID.size)
    write_store(tmp_path / "store", {"x": (empty, None, "train", "none")})
    store = CaseStore(tmp_path / "store")
    stored = replace(store.record("x"), image_sha256=f"{'a':0>64}", background_sha256="2" * 64,
                     grid=GRID)  # fmt: skip
    store.write(stored, empty, None, organ)
    record = json.loads((run / "manifest.json").read_text())
    record["config"]["store"] = str(tmp_path / "store")
    (run / "manifest.json").write_text(json.dumps(record))
    (evaluated,) = read_runs([run])
    (group,) = by_scan("a", [evaluated])
    view = view_case("a", group, PLENTY)
    assert view.stack is not None
    outlined = [frame.outlines[0].get("background") for frame in view.stack.frames]
    assert [path is not None for path in outlined] == [n < 4 for n in view.stack.numbers]
    assert next(iter(view.stack.frames[1].outlines[0])) == "background"  # below all lines
    x, y = np.array(corners(outlined[0])).T
    assert (np.ptp(x), np.ptp(y)) == (8 * 15, 6 * 15)  # mm / 10, at 1.5 mm
    (other,) = by_scan("b", [evaluated])
    assert "background" not in str(view_case("b", other, PLENTY).stack.frames[0].outlines)
    assert report(f"run={run}", f"output={tmp_path}/tinted.html") == 0
    page = (tmp_path / "tinted.html").read_text()
    assert page.count('<path class="background"') == 1 + sum(path is not None for path in outlined)
    assert "masks of background (tint)" in page


def test_few_slices_keep_the_important_ones() -> None:
    grid = Grid((200, 40, 40), (1.0, 5.0, 5.0))
    scan = Volume(np.zeros(grid.size, dtype=np.int16), grid)
    stack = draw_stack(Scene(scan), [37, 111], Quality(12, 16, 50))
    assert len(set(stack.numbers)) == 12
    assert {0, 37, 111, 199} <= set(stack.numbers)
    assert max(picture(stack.frames[0].image).shape) == 16
    assert "12 of 200 slices" in stack.words
    assert "at most 16 pixels" in stack.words


def test_the_best_stack_that_fits_is_taken() -> None:
    grid = Grid((50, 64, 64), (2.0, 3.0, 3.0))
    noise = np.random.default_rng(0).integers(-160, 240, grid.size, dtype=np.int16)
    scene = Scene(Volume(noise, grid))
    best = fitting_stack(scene, [], PLENTY)
    assert best is not None
    smaller = fitting_stack(scene, [], best.characters - 1)
    assert smaller is not None
    assert smaller.characters < best.characters
    assert len(smaller.frames) < len(best.frames) == 50
    assert fitting_stack(scene, [], 1000) is None


def seen(folder: Path, case: str, room: int = PLENTY) -> CaseView:
    runs = read_runs([folder])
    (group,) = by_scan(case, runs)
    return view_case(case, group, room)


def test_a_case_opens_where_its_largest_error_is(tmp_path: Path) -> None:
    folder = make_run(
        tmp_path,
        {
            "missed": (LARGE | SMALL, LARGE),
            "found": (LARGE | SMALL, LARGE | SMALL),
            "false": (0 * LARGE, FALSE),
            "nothing": (0 * LARGE, 0 * LARGE),
        },
        annotated=SMALL,
    )
    missed = seen(folder, "missed")
    assert missed.stack is not None
    assert missed.stack.numbers[missed.start] in (5, 6)
    assert "largest missed node" in missed.words
    (jump,) = missed.jumps
    assert (jump.frame, jump.missed_by) == (missed.start, [0])
    assert jump.words.endswith("annotated for training")
    assert [missed.stack.numbers[i] for i in missed.tracks["missed"]] == [5, 6]
    found = seen(folder, "found")
    assert found.jumps == []
    assert "largest node" in found.words
    assert "largest false positive" in seen(folder, "false").words
    nothing = seen(folder, "nothing")
    assert "middle of the scan" in nothing.words
    assert "the reference has no node · nothing was predicted" in nothing.captions[0]
    assert seen(folder, "found", room=100).stack is None


@pytest.mark.slow
def test_real_scan_makes_a_small_page(real_data: Path, tmp_path: Path) -> None:
    label = sitk.ReadImage(real_data / "4d-lung-P113" / "labels_tumor1_ln2_bin3x3x1.nii.gz")
    nodes = sitk.Cast(label == 2, sitk.sitkUInt8)
    folder = tmp_path / "run"
    for place in ("references", "run/predictions"):
        (tmp_path / place).mkdir(parents=True)
    sitk.WriteImage(nodes, tmp_path / "references" / "p113.nii.gz")
    sitk.WriteImage(sitk.BinaryDilate(nodes, (1, 1, 0)), folder / "predictions" / "p113.nii.gz")
    image = str(real_data / "4d-lung-P113" / "ct_bin3x3x1.nii.gz")
    entry = {"case": "p113", "image": image, "mask": "p113.nii.gz"}
    (folder / "predictions" / "manifest.json").write_text(json.dumps({"cases": [entry]}))
    (folder / "manifest.json").write_text(
        json.dumps({"stage": "train", "command": ["train.py"], "config": {"name": "x", "seed": 0}})
    )
    evaluate_folders(
        folder / "predictions", tmp_path / "references", folder / "evaluation",
        config={"reference_kind": "binary"}, reference_kind="binary", min_overlap=0.25,
    )  # fmt: skip
    assert report(f"run={folder}") == 0
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert html.count("data:image/webp") > 5
    assert len(html) < 1_500_000
    assert "3 of 3 nodes found" in html
