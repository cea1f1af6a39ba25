"""Masks of what can be no node: found, read as labels are, kept in the store, cut with patches."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torchio as tio
from scipy import ndimage
from support.folders import touch
from support.stores import write_store
from support.synthetic_chest import SMALL, chest_with_spine, ellipsoid

from lnq.box import cut
from lnq.data.case import Case
from lnq.data.chest.lungs import Chest, find_chest
from lnq.data.datasets import Lnq2023Layout, PairsLayout, ScansLayout
from lnq.data.datasets.knowledge import Knowledge
from lnq.data.datasets.source_hash import source_hashes
from lnq.data.datasets.structures import NO_NODES
from lnq.data.patches.cutting import PatchDataset, PatchRule
from lnq.data.patches.known import KnownBackground
from lnq.data.preparation.chest_distance import BODY, LUNGS, between, chest_distances, on_patch
from lnq.data.preparation.examination import examine
from lnq.data.preparation.inspection import inspect_case
from lnq.data.preparation.preprocessing import Preprocessing
from lnq.data.store.building import build_store
from lnq.data.store.case_store import CaseStore
from lnq.data.store.packed_mask import PackedMask, packed, packed_size
from lnq.errors import CaseError, UsageError
from lnq.files import write_json
from lnq.volume import Array, Grid, Volume, reorient, resample
from lnq.volume_file import write_volume

SETTINGS = Preprocessing(spacing_mm=(10.0, 8.0, 8.0))
SPINE = ellipsoid(SMALL, (0, 70, 0), (1e4, 16, 16))
HEART = ellipsoid(SMALL, (-60, 0, 0), (40, 40, 40))
NODE = ellipsoid(SMALL, (30, 0, 0), (25, 20, 20))
MASKS = KnownBackground(hu=None)


def listed(folder: Path, *ids: str) -> list[Case]:
    return [Case(n, folder / f"{n}-ct.nrrd", None, "train", "none", n) for n in ids]


def names(case: Case) -> list[str]:
    return [path.name for path in case.background]


def test_a_case_has_one_mask_or_a_folder_of_structures(tmp_path: Path) -> None:
    touch(
        tmp_path, "a/heart.nii.gz", "a/lung_upper_lobe_left.nii.gz", "a/Aorta.nrrd", "a/notes.txt",
        "a/.heart.nii.gz", "b-ct.nii.gz", "c.seg.nrrd", "strange.nii.gz",
    )  # fmt: skip
    a, b, c, d = Knowledge(tmp_path).added_to(listed(tmp_path, "a", "b", "c", "d"))
    assert names(a) == ["Aorta.nrrd", "heart.nii.gz"]
    assert (names(b), names(c)) == (["b-ct.nii.gz"], ["c.seg.nrrd"])  # wholly, whatever its name
    assert (a.notes, d.background, d.notes) == ((), (), ("it has no masks of background",))
    tested = replace(listed(tmp_path, "d")[0], split="test")
    assert Knowledge(tmp_path).added_to([a, tested])[1].notes == ()


def test_structures_by_pattern_or_by_name(tmp_path: Path) -> None:
    touch(tmp_path, "a/heart.nii.gz", "a/lung_upper_lobe_left.nii.gz", "a/lung_vessels.nii.gz")
    cases = listed(tmp_path, "a")

    def chosen(wanted: str | tuple[str, ...] | None) -> list[str]:
        return names(Knowledge(tmp_path, wanted).added_to(cases)[0])

    assert chosen("LUNG_.*lobe|^heart$") == ["heart.nii.gz", "lung_upper_lobe_left.nii.gz"]
    assert chosen(("lung_vessels", "aorta")) == ["lung_vessels.nii.gz"]
    with pytest.raises(UsageError, match=r"no mask.*heart, lung_upper.*background_names"):
        chosen("kidney")
    with pytest.raises(UsageError, match=r"no regular expression.*background_names=\("):
        chosen("(")


def test_a_folder_that_fits_no_case_is_refused(tmp_path: Path) -> None:
    touch(tmp_path, "patient 1/heart.nii.gz")
    with pytest.raises(UsageError, match=r"none is named as a case: it has patient 1.*such as a"):
        Knowledge(tmp_path).added_to(listed(tmp_path, "a"))
    with pytest.raises(UsageError, match=r"Give data\.layout\.background=DIR"):
        Knowledge(tmp_path / "missing").added_to(listed(tmp_path, "a"))


def test_layouts_take_the_folder(tmp_path: Path) -> None:
    touch(tmp_path, "set/train/a-ct.nrrd", "set/train/a-seg.nrrd", "pairs/a.nrrd",
          "masks/a/aorta.nii.gz")  # fmt: skip
    (challenge,) = Lnq2023Layout(tmp_path / "set", background=tmp_path / "masks").cases()
    (pair,) = PairsLayout(tmp_path, images=Path("pairs"), background=tmp_path / "masks").cases()
    (scan,) = ScansLayout(tmp_path / "pairs", background=tmp_path / "masks").cases()
    for case in (challenge, pair, scan):
        assert names(case) == ["aorta.nii.gz"], case


def test_the_list_of_structures_leaves_out_what_can_hold_nodes() -> None:
    assert {"heart", "aorta", "esophagus", "trachea", "vertebrae_T5", "rib_left_12", "vertebrae",
            "pulmonary_artery", "heart_atrium_right", "clavicula_left"} <= NO_NODES  # fmt: skip
    wraps = ("lung", "body_", "fat", "muscle", "effusion", "face")
    assert not [name for name in NO_NODES if any(word in name for word in wraps)]


def case_on_disk(folder: Path, masks: dict[str, Array], grid: Grid = SMALL) -> Case:
    """A scan with a node and masks."""
    image, label = folder / "a-ct.nrrd", folder / "a-seg.nrrd"
    write_volume(chest_with_spine(), image)
    write_volume(Volume(NODE.astype(np.uint8), SMALL), label)
    paths = []
    for name, mask in masks.items():
        paths.append(folder / "masks" / "a" / f"{name}.nii.gz")
        write_volume(Volume(mask, grid), paths[-1])
    return Case("a", image, label, "train", "partial", "a", background=tuple(paths))


@pytest.mark.slow
def test_masks_are_laid_over_each_other(tmp_path: Path) -> None:
    given = {"spine": SPINE.astype(np.uint8) * 255, "heart": HEART.astype(np.uint8)}
    examined = examine(case_on_disk(tmp_path, given))
    assert (examined.problems, examined.notes) == ([], [])
    assert examined.background is not None
    assert np.array_equal(examined.background.array, SPINE | HEART)
    report = inspect_case(case_on_disk(tmp_path, given))
    chest = find_chest(chest_with_spine())
    body = resample(Volume(SPINE | HEART, SMALL), chest.coarse.grid, "nearest").array[chest.body]
    assert report.background_share == body.mean()
    assert 0.02 < report.background_share < 0.2
    assert inspect_case(case_on_disk(tmp_path, {})).background_share is None


def test_a_mask_off_the_grid_is_a_problem_and_named(tmp_path: Path) -> None:
    x, y, z = SMALL.origin_mm
    shifted = replace(SMALL, origin_mm=(x + 4.0, y, z))
    examined = examine(case_on_disk(tmp_path, {"heart": HEART.astype(np.uint8)}, shifted))
    (problem,) = examined.problems
    assert "heart.nii.gz" in str(problem.where)
    assert "does not lie on the scan's grid" in str(problem)
    fraction = examine(case_on_disk(tmp_path, {"heart": HEART * np.float32(0.6)}))
    assert "0.6" in str(fraction.problems[0])


def test_an_annotated_node_in_an_organ_is_a_note(tmp_path: Path) -> None:
    over = {"heart": (HEART | NODE).astype(np.uint8), "spine": (SPINE | NODE).astype(np.uint8)}
    over["spine"][NODE & (np.arange(48) > 23)] = 0
    examined = examine(case_on_disk(tmp_path, over))
    assert examined.problems == []
    (note,) = examined.notes
    assert note.startswith("100% of the annotation lies in masks of background, most of it in hear")
    touching = HEART.copy()
    touching[tuple(np.argwhere(NODE)[0])] = True  # one of 56 voxels is no news
    assert (touching & NODE).any()
    assert examine(case_on_disk(tmp_path, {"heart": touching.astype(np.uint8)})).notes == []


def built(root: Path, case: Case) -> tuple[CaseStore, str]:
    write_json(root / "manifest.json", {"settings": SETTINGS.as_dict(), "cases": ["a"]})
    (outcome,) = build_store([case], root, 0)
    return CaseStore(root), outcome.reason or outcome.status


@pytest.mark.slow
def test_the_store_keeps_them_and_knows_when_they_change(tmp_path: Path) -> None:
    case = case_on_disk(
        tmp_path, {"heart": HEART.astype(np.uint8), "spine": SPINE.astype(np.uint8)}
    )
    root = tmp_path / "store"
    store, state = built(root, case)
    assert state == "built"
    mask, record = store.background("a"), store.record("a")
    assert mask is not None
    assert mask.bits.shape == packed_size(record.grid.size)
    whole = resample(reorient(Volume(SPINE | HEART, SMALL)), record.grid, "nearest").array
    assert (mask.whole() != whole).mean() < 0.01
    assert whole.any()
    before = store.content_sha256(["a"])
    assert built(root, case)[1] == "kept"
    fewer = replace(case, background=case.background[:1])
    store, state = built(root, fewer)
    assert state == "its masks of background have changed"
    assert store.content_sha256(["a"]) != before
    write_volume(Volume(SPINE.astype(np.uint8), SMALL), case.background[0])
    assert built(root, fewer)[1] == "its masks of background have changed"
    store, state = built(root, replace(case, background=()))
    assert state == "its masks of background have changed"
    assert store.background("a") is None
    assert not (root / "cases/a/background.npy").exists()


def test_a_renamed_mask_is_another_one(tmp_path: Path) -> None:
    case = case_on_disk(tmp_path, {"heart": HEART.astype(np.uint8)})
    other = case.background[0].with_name("aorta.nii.gz")
    before = source_hashes(case)
    case.background[0].rename(other)
    after = source_hashes(replace(case, background=(other,)))
    assert before.background != after.background
    assert before[:2] == after[:2]


@pytest.mark.slow
def test_a_damaged_array_is_found(tmp_path: Path) -> None:
    case = case_on_disk(tmp_path, {"heart": HEART.astype(np.uint8)})
    root = tmp_path / "store"
    built(root, case)
    for name in ("background.npy", "chest.npy"):
        file = root / "cases/a" / name
        content = bytearray(file.read_bytes())
        content[-5] ^= 1
        file.write_bytes(content)
        with pytest.raises(CaseError, match="damaged"):
            CaseStore(root).background("a") if name[0] == "b" else CaseStore(root).distance("a", 0)
        assert built(root, case)[1] == f"{name} is damaged"


def test_a_mask_is_brought_onto_the_working_grid_as_the_scan_is() -> None:
    """Seen from the other side, and in voxels of other sizes: the same place in the world."""
    flipped = Volume(np.ascontiguousarray(HEART[::-1, ::-1]), SMALL)
    x, y, z = SMALL.to_world(np.array([SMALL.size[0] - 1, SMALL.size[1] - 1, 0]))
    turned = Grid(SMALL.size, SMALL.spacing_mm, (x, y, z), (1.0, 0, 0, 0, -1.0, 0, 0, 0, -1.0))
    grid = Grid((40, 60, 60), (6.0, 5.0, 5.0), (-150.0, -140.0, -120.0))
    straight = SETTINGS.apply_mask(Volume(HEART, SMALL), grid)
    assert np.array_equal(
        SETTINGS.apply_mask(Volume(flipped.array, turned), grid).array, straight.array
    )
    volume_ml = straight.array.sum() * grid.voxel_volume_mm3 / 1000
    assert volume_ml == pytest.approx(HEART.sum() * SMALL.voxel_volume_mm3 / 1000, rel=0.05)


@pytest.mark.parametrize("width", [1, 7, 8, 9, 40])
def test_patches_of_packed_masks(width: int) -> None:
    rng = np.random.default_rng(width)
    mask = rng.random((5, 6, width)) < 0.5
    stored = PackedMask(packed(mask), mask.shape)
    assert stored.bits.nbytes <= mask.size / 8 + 5 * 6
    assert np.array_equal(stored.whole(), mask)
    for _ in range(50):
        start = rng.integers(-8, (8, 9, width + 3))
        size = rng.integers(1, (8, 9, 20))
        padded = np.pad(mask, 20 + width)  # no patch reaches beyond
        part = tuple(
            slice(a + 20 + width, a + 20 + width + n) for a, n in zip(start, size, strict=True)
        )
        assert np.array_equal(stored.cut(start, size), padded[part])


def test_distances_from_lungs_and_body_by_hand() -> None:
    grid = Grid((4, 5, 6), (3.0, 2.0, 4.0), (10.0, 20.0, 30.0))
    lungs, body = np.zeros((2, *grid.size), bool)
    lungs[1, 2, 3] = True
    far, on = chest_distances(Chest(Volume(np.zeros(grid.size), grid), body, lungs), grid)
    assert on == grid
    assert far[LUNGS, 1, 2, 3] == 0
    assert far[LUNGS, 3, 2, 3] == 6  # two slices of 3 mm
    assert far[LUNGS, 1, 4, 0] == int(np.hypot(4, 12))
    assert not far[BODY].any()  # none was found: nothing is far from it
    # A patch on finer voxels that begins outside: the nearest coarse voxel's, edges going on.
    part = Grid((3, 1, 1), (3.0, 2.0, 4.0), grid.to_world(np.array([2, 2, 3])))
    assert on_patch(Volume(far[LUNGS], on), part).ravel().tolist() == [3, 6, 6]


def test_stored_distances_are_those_of_the_scan(tmp_path: Path) -> None:
    store, _ = built(tmp_path / "store", case_on_disk(tmp_path, {}))
    chest = find_chest(chest_with_spine())
    record = store.record("a")
    for kind, mask in ((LUNGS, between(chest.lungs)), (BODY, chest.body)):
        stored = store.distance("a", kind)
        assert stored is not None
        far = ndimage.distance_transform_edt(~mask, sampling=chest.coarse.grid.spacing_mm)
        expected = resample(Volume(far, chest.coarse.grid), stored.grid, "nearest").array
        assert np.abs(stored.array - expected).max() <= 1
        on = on_patch(stored, record.grid)
        assert on.shape == record.grid.size


def store_of_one(root: Path, background: Array, label: Array) -> CaseStore:
    """A store of one case with masks, 400 HU a unit of its intensities, 0 = -500 HU."""
    image = np.full(background.shape, 1.35)  # 40 HU
    store = CaseStore(write_store(root, {"a": (image, label, "train", "partial")}))
    record = replace(store.record("a"), background_sha256="2" * 64)
    store.write(record, image, label, background)
    return CaseStore(root)


def test_masks_reach_the_patch_and_move_with_it(tmp_path: Path) -> None:
    background, label = np.zeros((2, 6, 9, 11), bool)
    background[2:5, 3:7, 1:9] = True
    label[3, 4:6, 4:8] = True
    store = store_of_one(tmp_path / "store", background, label.astype(np.uint8))
    place = PatchRule(["a"], (4, 8, 8), 1.0, 0)
    still = PatchDataset(store, place, None, MASKS, True)[0]
    start = place.start_of(0, background.shape, store.foreground("a"))
    wanted = cut(background & ~label, start, (4, 8, 8), False)
    assert wanted.any()
    assert np.array_equal(still["known_background"].data[0].numpy() > 0, wanted)
    assert still["known_background"].data.dtype == torch.uint8
    off = PatchDataset(store, place, None, KnownBackground(hu=None, masks=False), True)[0]
    assert not off["known_background"].data.any()
    mirrored = PatchDataset(
        store, place, tio.RandomFlip(axes=(1, 2), flip_probability=1), MASKS, True
    )[0]
    assert np.array_equal(mirrored["known_background"].data[0].numpy() > 0, wanted[:, ::-1, ::-1])
    turned = PatchDataset(
        store, place, tio.RandomAffine(degrees=(30, 30, 0, 0, 0, 0)), MASKS, True
    )[0]
    moved, marked = turned["known_background"].data, turned["label"].data
    assert not torch.equal(moved, still["known_background"].data)
    assert moved.any()
    assert not (moved & marked).any()  # still apart
