"""Where a patch can hold no node: each source by hand, all of them together."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from support.stores import write_store

from lnq.box import cut
from lnq.data.patches.cutting import PatchDataset, PatchRule
from lnq.data.patches.known import CutPatch, KnownBackground
from lnq.data.preparation.label_field import annotated
from lnq.data.store.case_store import CaseStore
from lnq.volume import Array, Grid

SIZE = (9, 20, 24)
SPACING = (3.0, 1.0, 1.0)
"""Of the store that `write_store` writes, mm."""
OFF = KnownBackground(hu=None, masks=False, full=False)
COARSE = Grid((9, 7, 8), (3.0, 3.0, 3.0), (1.0, 1.0, 0.0))


def label() -> Array:
    marked = np.zeros(SIZE, np.uint8)
    marked[2, 5, 6] = marked[6, 15:17, 20] = 1
    return marked


def lungs() -> Array:
    """On voxels of 3 mm: slices 2 to 5 of 9."""
    mask = np.zeros(COARSE.size, bool)
    mask[2:6, 2:5, 3:5] = True
    return mask


def store_of(
    root: Path, marked: Array | None, supervision: str = "partial", lungs_found: bool = True
) -> CaseStore:
    image = np.full(SIZE, 1.35)  # 40 HU
    store = CaseStore(write_store(root, {"a": (image, marked, "train", supervision)}))
    far = np.zeros((2, *COARSE.size), np.uint8)
    if lungs_found:
        mask = np.argwhere(lungs())
        for index in np.ndindex(COARSE.size):
            apart = (mask - index) * COARSE.spacing_mm
            far[0][index] = int(np.sqrt((apart**2).sum(axis=1)).min())
    far[1] = np.arange(COARSE.size[2], dtype=np.uint8) * 10  # farther and farther to the left
    organ = np.zeros(SIZE, bool)
    organ[:, 4:8, 4:8] = True
    record = replace(store.record("a"), background_sha256="2" * 64, chest_grid=COARSE,
                     lungs_found=lungs_found)  # fmt: skip
    store.write(record, image, marked, organ, far)
    return CaseStore(root)


@pytest.fixture
def store(tmp_path: Path) -> CaseStore:
    return store_of(tmp_path / "store", label())


def known(
    source: KnownBackground, store: CaseStore, start: tuple[int, ...] = (0, 0, 0),
    size: tuple[int, ...] = SIZE,
) -> Array:  # fmt: skip
    image = cut(np.asarray(store.image("a"), np.float32), start, size, 0.0)
    field = store.label_field("a")
    marked = np.zeros(size, np.uint8) if field is None else annotated(cut(field, start, size, 0))
    return source.of(CutPatch(store, "a", start, image, marked))


def test_nothing_is_known_by_no_source(store: CaseStore) -> None:
    assert not known(OFF, store).any()


@pytest.mark.parametrize("ring_mm", [0.5, 2.0, 4.5])
def test_a_ring_by_the_distance_to_every_annotated_voxel(store: CaseStore, ring_mm: float) -> None:
    expected = np.zeros(SIZE, bool)
    marked = np.argwhere(label())
    for index in np.ndindex(SIZE):
        apart = np.linalg.norm((marked - index) * SPACING, axis=1).min()
        expected[index] = 0 < apart <= ring_mm
    source = replace(OFF, ring_mm=ring_mm)
    assert expected.any() == (ring_mm >= 1)
    assert np.array_equal(known(source, store), expected)
    # A patch beside the node still sees its ring, and one that begins outside the scan, too.
    for start, size in (
        ((3, 0, 0), (4, 20, 24)),
        ((-2, 3, 7), (6, 8, 30)),
        ((5, 16, 21), (2, 3, 3)),
    ):
        assert np.array_equal(known(source, store, start, size), cut(expected, start, size, False))


def test_masks_leave_what_is_annotated(store: CaseStore) -> None:
    found = known(replace(OFF, masks=True), store)
    assert found.sum() == 9 * 4 * 4 - 1
    assert not found[2, 5, 6]


def test_everything_unmarked_in_a_complete_case(tmp_path: Path) -> None:
    source = replace(OFF, full=True)
    complete = store_of(tmp_path / "full", label(), "full")
    start, size = (-1, -2, 0), (5, 8, 8)
    found = known(source, complete, start, size)
    assert np.array_equal(found, cut(label(), start, size, 0) == 0)
    assert not known(source, store_of(tmp_path / "partial", label())).any()
    assert not known(OFF, complete).any()


def test_far_from_the_lungs_and_from_the_body(store: CaseStore) -> None:
    far = known(replace(OFF, beyond_lungs_mm=4.0), store)
    mask = np.argwhere(lungs())
    for index in itertools.product((0, 4, 8), (1, 10, 19), (1, 10, 13, 23)):
        nearest = np.clip(np.rint((np.array(index) * SPACING - (0, 1, 1)) / 3), 0,
                          np.subtract(COARSE.size, 1))  # fmt: skip
        apart = int(np.sqrt((((mask - nearest) * 3) ** 2).sum(axis=1)).min())
        assert far[index] == (apart > 4 and label()[index] == 0), index
    assert far.any()
    assert not far.all()
    outside = known(replace(OFF, beyond_body_mm=30.0), store)
    # 40 mm and more from the fifth coarse column on, x = 13 mm; its half before it.
    assert np.array_equal(outside, (np.arange(24) >= 12) & (label() == 0))
    assert np.array_equal(known(replace(OFF, beyond_body_mm=30.0), store, (2, 5, 10), (3, 4, 5)),
                          outside[2:5, 5:9, 10:15])  # fmt: skip


def test_slices_by_the_lungs_height(store: CaseStore) -> None:
    def slices(low: float, high: float) -> list[int]:
        found = known(replace(OFF, lung_heights=(low, high)), store)
        flat = found | (label() > 0)
        assert np.array_equal(flat.any(axis=(1, 2)), flat.all(axis=(1, 2)) | (label().any((1, 2))))
        return list(np.flatnonzero(flat.all(axis=(1, 2))))

    assert slices(0, 1) == [0, 1, 6, 7, 8]  # middles of slices 2 to 5 are at 1/8 to 7/8
    assert slices(0.2, 1.2) == [0, 1, 2, 7, 8]
    assert slices(-9, 9) == []
    part = known(replace(OFF, lung_heights=(0, 1)), store, (5, 0, 0), (3, 4, 4))
    assert part.any(axis=(1, 2)).tolist() == [False, True, True]


def test_without_lungs_nothing_is_known_by_them(tmp_path: Path) -> None:
    blind = store_of(tmp_path / "store", label(), lungs_found=False)
    source = replace(OFF, beyond_lungs_mm=0.0, lung_heights=(0.4, 0.6))
    assert not known(source, blind).any()
    # A store without distances, as tests and strangers write them.
    bare = CaseStore(write_store(tmp_path / "bare", {"a": (np.zeros(SIZE), None, "train", "none")}))
    assert not known(replace(source, beyond_body_mm=0.0), bare).any()


def test_all_sources_are_laid_over_each_other(store: CaseStore) -> None:
    single = [
        replace(OFF, masks=True), replace(OFF, ring_mm=3.0), replace(OFF, beyond_lungs_mm=9.0),
        replace(OFF, beyond_body_mm=50.0), replace(OFF, lung_heights=(0.0, 1.0)),
        replace(OFF, hu=(40.0, 90.0)),
    ]  # fmt: skip
    union = np.logical_or.reduce([known(source, store) for source in single[:-1]])
    together = KnownBackground(None, True, True, 3.0, 9.0, 50.0, (0.0, 1.0))
    assert np.array_equal(known(together, store), union)
    assert known(single[-1], store).sum() == label().size - label().sum()
    assert not union.all()


def test_a_case_without_annotation_is_cut_anywhere(tmp_path: Path) -> None:
    """Nothing to centre on, and no ring: the other sources hold."""
    bare = store_of(tmp_path / "store", None, "none")
    rule = PatchRule(["a"], (4, 8, 8), 1.0, 0)
    source = KnownBackground(ring_mm=5.0)
    starts = set()
    for draw in range(6):
        patch = PatchDataset(bare, rule, None, source, with_background=True)[draw]
        starts.add(rule.start_of(draw, SIZE, bare.foreground("a")))
        assert not patch["label"].data.any()
        assert patch["known_background"].data.shape == (1, 4, 8, 8)
    assert len(starts) > 1
    assert known(source, bare).sum() == 9 * 4 * 4
