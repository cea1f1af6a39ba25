"""Pictures of slices: what is outlined as what, proportions, and which side is which."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from lnq.reporting.overlays import Scene, draw_scene, layers_of
from lnq.volume import Array, Grid

SIZE = (8, 20, 24)


def block(*where: slice) -> Array:
    array = np.zeros(SIZE, dtype=np.uint8)
    array[where] = 1
    return array


LARGE = block(slice(1, 5), slice(3, 10), slice(3, 10))
SMALL = block(slice(5, 7), slice(14, 18), slice(14, 18))
FALSE = block(slice(1, 3), slice(14, 18), slice(2, 5))


def test_layers_sort_nodes_and_predictions() -> None:
    layers = layers_of(
        LARGE | SMALL, (LARGE | FALSE) > 0, None, {1: True, 2: False}, numbered=False
    )
    expected = {"found": LARGE, "missed": SMALL, "prediction": LARGE, "false_positive": FALSE}
    assert layers.keys() == expected.keys()
    for key, mask in expected.items():
        np.testing.assert_array_equal(layers[key], mask > 0)


def test_numbered_references_keep_touching_nodes_apart() -> None:
    label = LARGE.copy()
    label[3:][label[3:] > 0] = 4
    layers = layers_of(label, label == 4, label == 1, {1: False, 4: True}, numbered=True)
    np.testing.assert_array_equal(layers["missed"], label == 1)
    np.testing.assert_array_equal(layers["found"], label == 4)
    np.testing.assert_array_equal(layers["annotated"], label == 1)


def pixels(source: str) -> Array:
    """The picture of a `data:` address, `row column rgb` in [0, 1]."""
    data = base64.b64decode(source.partition(",")[2])
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) / 255


def test_pictures_keep_proportions_and_radiological_sides() -> None:
    """A bright block at the patient's right, front and head appears left, up and up."""
    grid = Grid((20, 40, 40), (6.0, 3.0, 3.0))
    image = np.full(grid.size, -1000, dtype=np.int16)
    image[12:, :18, :18] = 1000
    centre = tuple(grid.to_world(np.array([14.0, 10.0, 10.0])))
    shown = pixels(draw_scene(Scene(image, grid, {}), centre)).mean(axis=2)
    height, width = shown.shape
    assert width / height == pytest.approx(3, rel=0.05)  # three squares of 120 mm
    bright = shown > 0.5
    for panel, (rows, columns) in enumerate([((0, 0.45), (0, 0.45)), ((0, 0.4), (0, 0.45)),
                                             ((0, 0.4), (0, 0.45))]):  # fmt: skip
        part = bright[:, panel * width // 3 + 8 : (panel + 1) * width // 3 - 8]
        inside = part[
            int((rows[0] + 0.03) * height) : int((rows[1] - 0.03) * height),
            int((columns[0] + 0.03) * part.shape[1]) : int((columns[1] - 0.03) * part.shape[1]),
        ]
        assert inside.mean() > 0.9
        assert bright[:, panel * width // 3 : (panel + 1) * width // 3].mean() < 0.3
