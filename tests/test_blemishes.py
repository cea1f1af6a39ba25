"""Damage that no checksum tells shows as spikes and rows of one value; metal and padding do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from support.dicom_phantom import write_ct
from support.mutations import scan

from lnq.data.readers import every_scan, read_image, read_image_with_notes
from lnq.data.readers.blemishes import blemishes
from lnq.errors import LnqError
from lnq.volume import Array

RUBBISH = np.random.default_rng(5).integers(-32768, 32767, 24)


def sound() -> Array:
    hu = np.full((10, 32, 36), 40) + np.random.default_rng(0).normal(0, 12, (10, 32, 36))
    return hu.astype(np.int16)


def _set(value: object, *place: object) -> Callable[[Array], None]:
    def edit(array: Array) -> None:
        array[place] = value

    return edit


@pytest.mark.parametrize(
    ("damage", "what"),
    [(_set(RUBBISH, 4, 10, slice(5, 29)), "jump against all"), (_set(9000, 9, 10, 5), "jump"),
     (_set(-2000, 0, 10, 5), "1 voxels jump"), (_set(-8152, 4, 10, 35), "most in slice 4"),
     (_set(-500, 4, 10, slice(5, 29)), "rows have one value"),
     (_set(700, 4, 10, slice(5, 29)), "rows have one value")],
)  # fmt: skip
def test_damage_is_noted(damage: Callable[[Array], None], what: str) -> None:
    array = sound()
    array[9, 31, 35], array[9, 31, 34] = 1500, -1000  # the scan's own extremes
    assert blemishes(array) == []
    damage(array)
    (note,) = blemishes(array)
    assert what in note


@pytest.mark.parametrize(
    "edit",
    [_set(3071, 4, slice(10, 13), slice(5, 29)), _set(2400, 4, 10, 10),
     _set(-3024, slice(None), slice(0, 9)), _set(-1000, 4, 10, slice(5, 29)),
     _set(-900, slice(2, 5), slice(9, 15), slice(5, 29)), _set(0, slice(None), 3)],
)  # fmt: skip
def test_metal_padding_and_what_is_even_by_nature_are_not(edit: Callable[[Array], None]) -> None:
    array = sound()
    edit(array)
    assert blemishes(array) == []


def test_small_and_floating_point_scans() -> None:
    assert blemishes(sound()[:2]) == []
    array = sound().astype(np.float32)
    array[4, 10, 5] = 20000.5
    assert len(blemishes(array)) == 1


def test_readers_tell_it(tmp_path: Path) -> None:
    folder = write_ct(tmp_path / "ct", array=scan())
    assert read_image_with_notes(folder)[1] == []
    path = folder / "1-005.dcm"
    content = bytearray(path.read_bytes())
    content[-1000:-960] = RUBBISH[:20].astype("<i2").tobytes()
    path.write_bytes(content)
    (note,) = read_image_with_notes(folder)[1]
    assert "jump" in note
    assert "most in slice 5" in note


@pytest.mark.slow
def test_real_scans_have_none(real_data: Path) -> None:
    for path in every_scan(real_data):
        try:
            array = read_image(path).array
        except LnqError:
            continue
        assert blemishes(array) == [], path
