"""Annotated nodes pasted into patches: what is pasted, where, and what stays as it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torchio as tio
from support.stores import write_store

from lnq.box import cut
from lnq.data.patches.cutting import PatchDataset, PatchRule
from lnq.data.patches.datamodule import PatchDataModule
from lnq.data.patches.known import CutPatch, KnownBackground
from lnq.data.patches.pasting import NodePasting
from lnq.data.store.case_store import CaseStore
from lnq.seeding import generator
from lnq.volume import Array

SIZE = (9, 20, 24)
MEAN, SD = -500.0, 400.0
"""Of the store that `write_store` writes, HU."""
ALWAYS = NodePasting(share=1.0)
NOWHERE = KnownBackground(hu=None)


def normalised(hu: Array) -> Array:
    return (hu - MEAN) / SD


def receiver() -> tuple[Array, Array]:
    """Fat, with a block of soft tissue; two annotated voxels in it."""
    hu, marked = np.full(SIZE, -100.0), np.zeros(SIZE, np.uint8)
    hu[3:6, 8:12, 8:12] = 40.0
    marked[4, 9, 9:11] = 1
    return hu, marked


def giver() -> tuple[Array, Array]:
    """A node of 2 x 3 x 2 voxels, each with HU of its own, in a rim of -60; a smaller one apart."""
    hu, marked = np.full(SIZE, -90.0), np.zeros(SIZE, np.uint8)
    hu[2:6, 4:9, 5:9] = -60.0
    marked[3:5, 5:8, 6:8] = 1
    hu[3:5, 5:8, 6:8] = np.arange(30, 42).reshape(2, 3, 2)
    marked[7, 15, 20] = 1
    hu[7, 15, 20] = 99.0
    return hu, marked


@pytest.fixture
def store(tmp_path: Path) -> CaseStore:
    (a, here), (b, there) = receiver(), giver()
    cases = {
        "receiver": (normalised(a), here, "train", "partial"),
        "giver": (normalised(b), there, "train", "partial"),
        "nobody": (normalised(a), None, "train", "none"),
    }
    return CaseStore(write_store(tmp_path / "store", cases))


def patch_of(
    store: CaseStore, case_id: str, start: tuple[int, int, int] = (0, 0, 0),
    size: tuple[int, int, int] = SIZE,
) -> CutPatch:  # fmt: skip
    image = cut(np.asarray(store.image(case_id), np.float32), start, size, normalised(-100.0))
    label = store.label(case_id)
    marked = np.zeros(size, np.uint8) if label is None else cut(label, start, size, 0)
    return CutPatch(store, case_id, start, image, marked)


def pasted_hu(image: Array) -> Array:
    return np.asarray(image, np.float64) * SD + MEAN


def test_a_node_arrives_whole_with_its_rim(store: CaseStore) -> None:
    """By voxels: what was added is one of the two nodes, where it may lie, all else untouched."""
    patch, sizes = patch_of(store, "receiver"), set()
    before, marked = receiver()
    for draw in range(40):
        pasted = ALWAYS.onto(patch, ["giver"], NOWHERE, generator(0, draw))
        assert pasted is not None
        node = (pasted.marked > 0) & (marked == 0)
        hu = pasted_hu(pasted.image)
        touched = node | pasted.rim
        assert np.allclose(hu[~touched], before[~touched], atol=0.6)
        assert not (node & pasted.rim).any()
        assert np.allclose(hu[marked > 0], 40.0, atol=0.6)
        assert (pasted.marked[marked > 0] == 1).all()
        values = np.sort(np.rint(hu[node]))
        assert set(values) <= {*np.arange(30.0, 42.0), 99.0}
        assert len(set(values)) == len(values)  # each voxel once: moved, not stretched
        assert not ({99.0} < set(values))  # the other node stays where it is
        rim = np.rint(hu[pasted.rim])
        assert set(rim) <= ({-90.0} if 99.0 in values else {-60.0})
        sizes.add(len(values))
    assert {1, 12} <= sizes  # the small node, and the large one, whole


def test_it_lies_in_fat_beside_soft_tissue(store: CaseStore) -> None:
    """Its voxel lands there; with one voxel, the small node's, the place is all there is."""
    patch = patch_of(store, "receiver")
    before, _ = receiver()
    room = np.array([2, 7, 7])  # 7.5 mm in voxels of 3 x 1 x 1 mm
    soft, places = np.argwhere(before > -36), []
    for draw in range(200):
        pasted = ALWAYS.onto(patch, ["giver"], NOWHERE, generator(1, draw))
        assert pasted is not None
        hu = pasted_hu(pasted.image)
        place = np.argwhere(np.rint(hu) == 99)
        if len(place):
            places.append(tuple(int(v) for v in place[0]))
    assert len(set(places)) > 5
    for place in places:
        assert before[place] == -100.0
        assert (np.abs(soft - place) <= room).all(axis=1).any(), place


def test_nothing_is_pasted_where_no_node_lies(store: CaseStore) -> None:
    organ = np.ones(SIZE, bool)
    organ[:, :, :6] = False
    record = replace(store.record("receiver"), background_sha256="2" * 64)
    hu, marked = receiver()
    store.write(record, normalised(hu), marked, organ)
    patch = patch_of(CaseStore(store.root), "receiver")
    free = (hu <= -36) & ~organ
    for draw in range(40):
        pasted = ALWAYS.onto(patch, ["giver"], NOWHERE, generator(2, draw))
        if pasted is not None:
            node = np.argwhere((pasted.marked > 0) & (marked == 0))
            # Some voxel of the node is at its place; the others may reach beyond.
            assert any(free[tuple(v)] for v in node)
    everywhere = replace(record, background_sha256="3" * 64)
    store.write(everywhere, normalised(hu), marked, np.ones(SIZE, bool))
    closed = patch_of(CaseStore(store.root), "receiver")
    assert all(
        ALWAYS.onto(closed, ["giver"], NOWHERE, generator(3, draw)) is None for draw in range(20)
    )


@pytest.mark.parametrize("hu", [40.0, -100.0, 300.0])
def test_without_fat_beside_soft_tissue_there_is_no_place(tmp_path: Path, hu: float) -> None:
    giving, marked = giver()
    cases = {
        "even": (normalised(np.full(SIZE, hu)), None, "train", "none"),
        "giver": (normalised(giving), marked, "train", "partial"),
    }
    store = CaseStore(write_store(tmp_path / "store", cases))
    for draw in range(20):
        given = ALWAYS.onto(patch_of(store, "even"), ["giver"], NOWHERE, generator(0, draw))
        assert given is None


def test_a_case_without_annotation_gives_none_and_takes_some(store: CaseStore) -> None:
    bare = patch_of(store, "nobody")
    for draw in range(10):
        assert ALWAYS.onto(bare, ["nobody"], NOWHERE, generator(0, draw)) is None
        assert ALWAYS.onto(bare, ["giver"], NOWHERE, generator(0, draw)) is not None


@pytest.mark.slow
def test_the_share_of_patches(store: CaseStore) -> None:
    patch = patch_of(store, "receiver")
    for share in (0.0, 0.3, 1.0):
        some = NodePasting(share=share)
        number = sum(
            some.onto(patch, ["giver"], NOWHERE, generator(5, draw)) is not None
            for draw in range(300)
        )
        assert number == pytest.approx(300 * share, abs=35 if 0 < share < 1 else 0)


def test_other_intensities_are_brought_to_the_patch(tmp_path: Path) -> None:
    """HU are pasted, whatever mean and deviation a scan was normalised with."""
    (a, here), (b, there) = receiver(), giver()
    cases = {
        "receiver": (normalised(a), here, "train", "partial"),
        "giver": ((b - 10) / 50, there, "train", "partial"),
    }
    store = CaseStore(write_store(tmp_path / "store", cases))
    record = replace(store.record("giver"), mean=10.0, sd=50.0)
    store.write(record, (b - 10) / 50, there)
    store = CaseStore(store.root)
    pasted = ALWAYS.onto(patch_of(store, "receiver"), ["giver"], NOWHERE, generator(0, 1))
    assert pasted is not None
    node = (pasted.marked > 0) & (here == 0)
    assert set(np.rint(pasted_hu(pasted.image)[node])) <= {*np.arange(30.0, 42.0), 99.0}


def test_a_draw_is_a_function_of_its_number(store: CaseStore) -> None:
    """Also what the labels become, and all of it moves with the patch."""
    rule = PatchRule(["receiver", "giver"], (6, 14, 16), 0.5, seed=3)
    one, two = (
        PatchDataset(store, rule, None, KnownBackground(ring_mm=2.0), True, ALWAYS)
        for _ in range(2)
    )
    plain = PatchDataset(store, rule, None, KnownBackground(ring_mm=2.0), True)
    flipped = PatchDataset(
        store, rule, tio.RandomFlip(axes=2, flip_probability=1), KnownBackground(ring_mm=2.0),
        True, ALWAYS,
    )  # fmt: skip
    changed = 0
    for draw in (4, 0, 2, 1, 3):
        first, again, bare, moved = one[draw], two[draw], plain[draw], flipped[draw]
        for name in ("image", "label", "known_background"):
            assert np.array_equal(first[name].data, again[name].data)
            assert np.array_equal(first[name].data.flip(-1), moved[name].data)
        changed += bool((first["label"].data != bare["label"].data).any())
        both = first["label"].data.bool() & first["known_background"].data.bool()
        assert not both.any()
        assert (first["label"].data >= bare["label"].data).all()
    assert changed


def test_the_data_module_pastes(store: CaseStore) -> None:
    given = {"store": store.root, "patch_size": (6, 14, 16), "batch_size": 2, "seed": 1}
    with_nodes = PatchDataModule(**given, pasting=ALWAYS).first_batch()
    without = PatchDataModule(**given).first_batch()
    assert with_nodes["label"].sum() > without["label"].sum()
    assert "known_background" not in with_nodes
