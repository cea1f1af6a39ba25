"""Pictures beside predicted masks: the right slice, the right side, every outline."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.synthetic_chest import chest_with_spine
from support.untrained import untrained_run

from lnq import predict
from lnq.errors import RunError
from lnq.reporting.preview import LONGER_SIDE, draw_preview, shown_slice, write_preview
from lnq.volume import Grid, Volume, reorient
from lnq.volume_file import write_volume

GRID = Grid((8, 20, 40), (3.0, 2.0, 1.0))
YELLOW = np.array([0xF0, 0xE4, 0x42])


def scan() -> Volume:
    """Dark, bright in the patient's left half."""
    array = np.full(GRID.size, -100, np.int16)
    array[:, :, 20:] = 200
    return Volume(array, GRID)


def mask(*boxes: tuple[slice, slice, slice]) -> Volume:
    array = np.zeros(GRID.size, np.uint8)
    for box in boxes:
        array[box] = 1
    return Volume(array, GRID)


LARGE = (slice(4, 7), slice(2, 8), slice(2, 8))
SMALL = (slice(1, 2), slice(12, 15), slice(30, 33))


def drawn(given: Volume, orientation: str = "LPS") -> np.ndarray:
    turned = (reorient(volume, orientation) for volume in (scan(), given))
    return np.asarray(draw_preview(*turned)).astype(int)


def test_the_slice_is_the_largest_node_s_largest() -> None:
    given = mask(LARGE, SMALL).array > 0
    given[5, 8, 2:8] = True
    given[1, 0:1, 10:40] = True  # more in one slice, but less in all
    assert shown_slice(given) == 5
    assert shown_slice(np.zeros(GRID.size, bool)) == 4


def test_outlines_are_where_the_node_is() -> None:
    picture = drawn(mask(LARGE))
    assert picture.shape == (LONGER_SIDE, LONGER_SIDE, 3)  # 40 x 40 mm
    rows, columns = np.nonzero(np.abs(picture - YELLOW).sum(axis=2) < 30)
    per_voxel = np.array([LONGER_SIDE / 20, LONGER_SIDE / 40])
    for found, step in zip((rows, columns), per_voxel, strict=True):
        assert found.min() == pytest.approx(2 * step, abs=2)
        assert found.max() == pytest.approx(8 * step, abs=2)
    assert not (np.abs(drawn(mask()) - YELLOW).sum(axis=2) < 30).any()


@pytest.mark.parametrize("orientation", ["RAI", "PIL", "SAR"])
def test_the_patient_s_left_is_on_the_right_however_it_is_stored(orientation: str) -> None:
    picture = drawn(mask(LARGE))
    assert picture[:, 600:700].mean() > picture[:, 100:200].mean() + 100
    assert np.array_equal(picture, drawn(mask(LARGE), orientation))


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(RunError, match="cannot write a picture"):
        write_preview(scan(), mask(), tmp_path / "a" / "s.png")


@pytest.mark.slow
@pytest.mark.parametrize("asked", [True, False])
def test_the_command_draws_unless_told_otherwise(asked: bool, tmp_path: Path) -> None:
    write_volume(chest_with_spine(), tmp_path / "in" / "s.nrrd")
    (tmp_path / "in" / "broken.nrrd").write_bytes(b"NRRD0004\n")
    run = untrained_run(tmp_path / "run", (16, 32, 32), {"spacing_mm": [10.0, 8.0, 8.0]})
    (tmp_path / "out" / "previews").mkdir(parents=True)
    for earlier in ("s", "broken"):
        (tmp_path / "out" / "previews" / f"{earlier}.png").touch()
    with pytest.raises(SystemExit) as stop:
        predict.main([f"checkpoint={run}", f"input={tmp_path / 'in'}", f"output={tmp_path / 'out'}",
                      "device=cpu", *([] if asked else ["previews=false"])])  # fmt: skip
    assert stop.value.code == 3
    pictures = sorted((tmp_path / "out").glob("previews/*"))
    assert [picture.name for picture in pictures] == (["s.png"] if asked else [])
    for picture in pictures:
        with Image.open(picture) as image:
            assert max(image.size) == LONGER_SIDE
