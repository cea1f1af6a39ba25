"""Turns a `Thorax` into a CT in HU and the complete instance labels on a scanner's grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, zoom

from lnq.data.phantom.canvas import Canvas, Slices
from lnq.data.phantom.organs import Organ
from lnq.data.phantom.shapes import Ellipsoid, FloatArray, Tube
from lnq.data.phantom.thorax import Thorax, Torso
from lnq.volume import Grid

_REACH_MM = 9.0
_VISIBLE = 0.35


@dataclass(frozen=True)
class ImageQuality:
    """How good the scanner's picture is.

    Attributes:
        noise_hu: standard deviation of the noise.
        blur_pixels: standard deviation of the in-plane blur, in pixels.
        grain_pixels: standard deviation of the noise's own blur, in pixels.
    """

    noise_hu: float
    blur_pixels: float
    grain_pixels: float


def render(
    thorax: Thorax,
    grid: Grid,
    offset_mm: tuple[float, float, float],
    quality: ImageQuality,
    rng: np.random.Generator,
) -> tuple[NDArray[np.int16], NDArray[np.uint8]]:
    """Renders one scan.

    Args:
        thorax: what to draw.
        grid: where the scanner's voxels lie in the world.
        offset_mm: world position of the patient's origin, x y z.
        quality: noise and blur.
        rng: this case's noise generator.

    Returns:
        The CT in HU and the instance labels (0 background, n the n-th node; a node outside the
        scan or hidden by organs has no voxel), both `z y x`.
    """
    canvas = Canvas(grid, offset_mm)
    image, free = _draw_trunk(canvas, thorax, rng)
    shares = _draw_nodes(canvas, thorax, image)
    for organ in thorax.organs:
        _paint(canvas, image, organ, free)
    labels = _label(canvas, shares, free)
    image = image.reshape(grid.size[0], canvas.factor, *grid.size[1:]).mean(axis=1)
    image = gaussian_filter(image, (0, quality.blur_pixels, quality.blur_pixels), truncate=3)
    noise = rng.standard_normal(grid.size, dtype=np.float32)
    noise = gaussian_filter(noise, (0, quality.grain_pixels, quality.grain_pixels), truncate=3)
    image += noise * np.float32(quality.noise_hu / max(float(noise.std()), 1e-6))
    return np.clip(np.round(image), -1024, 3071).astype(np.int16), labels


def _draw_trunk(
    canvas: Canvas, thorax: Thorax, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Draws wall, abdomen, mediastinal fat, lungs and bones; returns image and free room, 0..1."""
    torso = thorax.torso
    x, y, z = canvas.xyz
    image = np.full(canvas.shape, -1000, np.float32)
    _blend(image, canvas.edge(np.abs(y - torso.table_y - 4) - 4), -650)
    neck = np.clip((z - 70) / 80, 0, 1) ** 2
    trunk = (_squircle(x, y, *torso.body, 0.45) + 0.15 * neck - 1) * np.sqrt(np.prod(torso.body))
    _blend(image, canvas.edge(trunk), torso.fat_hu)
    _blend(image, canvas.edge(trunk + torso.skin_fat_mm), torso.muscle_hu)
    for gap in thorax.wall_fat:
        _paint_soft(canvas, image, gap, torso.fat_hu)
    texture = smooth_noise(canvas.shape, rng)
    chest, lung, dome = _chest(torso, canvas)
    ribs = _ribs(torso, canvas, chest)
    _blend(image, canvas.edge(ribs), torso.bone_hu + 130)
    _blend(image, canvas.edge(ribs + 2.2), torso.bone_hu)
    middle = _mediastinum(torso, thorax, canvas)
    _blend(image, canvas.edge(middle), torso.fat_hu + 9 * texture)
    belly = canvas.edge(np.maximum(chest, 1.0 - dome))
    liver = canvas.edge(x - 14 + 0.45 * (y + 20))
    _blend(image, belly, torso.fat_hu + 5 * texture)
    _blend(image, belly * liver, torso.liver_hu + 5 * texture)
    air = canvas.edge(np.maximum(np.maximum(lung, dome), -middle))
    _blend(image, air, torso.lung_hu + 0.25 * y + 18 * texture)
    for tube in thorax.lung_vessels:
        _paint_thin(canvas, image, tube, air)
    free = np.ones(canvas.shape, np.float32)
    for bone in thorax.bones:
        _paint(canvas, image, bone, free)
    free *= 1 - air
    return image, free


def lung_distance(thorax: Thorax, canvas: Canvas) -> FloatArray:
    """Signed distance to the air of both lungs, about that in mm near their surface."""
    _, lung, dome = _chest(thorax.torso, canvas)
    distance: FloatArray = np.maximum(
        np.maximum(lung, dome), -_mediastinum(thorax.torso, thorax, canvas)
    )
    return distance


def _chest(torso: Torso, canvas: Canvas) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Signed distances to the inside of the rib cage, to the lungs, to above the diaphragm."""
    x, y, z = canvas.xyz
    half_x, half_y = torso.lung
    centre_x, centre_y = torso.lung_centre
    taper = np.clip((z + 10) / (torso.apex_z + 10), 0, 0.999)
    scale = np.sqrt(1 - taper**2.5)
    lung = _squircle(np.abs(x) - centre_x, y - centre_y, half_x, half_y, 0.5)
    lung = (lung - scale) * np.sqrt(half_x * half_y)
    wide = _squircle(x, y - centre_y, centre_x + half_x, half_y, 0.45)
    chest = (wide - np.maximum(scale, 0.45)) * np.sqrt((centre_x + half_x) * half_y)
    top = np.where(x < 0, torso.dome_z[0], torso.dome_z[1])
    sunk = ((np.abs(x) - centre_x) ** 2 + (y - centre_y) ** 2) / 110
    return chest, lung, 0.8 * (top - sunk - z)


def _ribs(torso: Torso, canvas: Canvas, chest: FloatArray) -> FloatArray:
    """Signed distance to the ribs: bands of the chest wall that run down to the front."""
    x, y, z = canvas.xyz
    height = z - 0.5 * y + 0.3 * np.abs(x) + torso.rib_phase_mm
    band = np.abs(np.mod(height, torso.rib_pitch_mm) - torso.rib_pitch_mm / 2) - 6.0
    ribs: FloatArray = np.maximum(np.abs(chest - 7.0) - 4.5, 0.85 * band)
    return ribs


def _mediastinum(torso: Torso, thorax: Thorax, canvas: Canvas) -> FloatArray:
    """Signed distance to the fat between the lungs: a slab and a coat around organs and nodes."""
    x, y, z = canvas.xyz
    width = torso.slab_x + 0.16 * y + 3 * np.sin(z / 30 + torso.rib_phase_mm)
    half_y = torso.lung[1] - 6.0
    slab = np.sqrt((x / width) ** 2 + ((y + 4) / half_y) ** 2) - 1
    field: FloatArray = np.minimum(slab * torso.slab_x, _REACH_MM)
    coats = [(organ.shape, organ.fat_mm) for organ in thorax.organs if organ.fat_mm > 0]
    coats += [(node.shape, 2.0) for node in thorax.nodes]
    coats += [(pad, 0.0) for pad in thorax.fat_pads]
    for shape, coat in coats:
        reached = canvas.distance(shape, coat + _REACH_MM)
        if reached is not None:
            box, distance = reached
            field[box] = _join(field[box], np.minimum(distance - coat, _REACH_MM))
    return field


def _join(one: FloatArray, other: FloatArray) -> FloatArray:
    """Union of two distance fields that fills the corner between them, as fat does."""
    close = np.maximum(1 - np.abs(one - other) / _REACH_MM, 0)
    # Nothing is filled where both are far: there the clipped fields are equal without meaning it.
    close *= np.minimum(one, other) < 0.6 * _REACH_MM
    joined: FloatArray = np.minimum(one, other) - close * close * np.float32(_REACH_MM / 4)
    return joined


def _draw_nodes(
    canvas: Canvas, thorax: Thorax, image: FloatArray
) -> list[tuple[Slices, FloatArray] | None]:
    """Paints the nodes and returns each one's box and its share of every point there."""
    shares: list[tuple[Slices, FloatArray] | None] = []
    for node in thorax.nodes:
        reached = canvas.distance(node.shape, canvas.soft_mm)
        if reached is None:
            shares.append(None)
            continue
        box, distance = reached
        share = canvas.edge(distance)
        _blend(image[box], share, node.hu)
        shares.append((box, share))
    return shares


def _label(
    canvas: Canvas, shares: list[tuple[Slices, FloatArray] | None], free: FloatArray
) -> NDArray[np.uint8]:
    """Gives a voxel to the node that fills most of it and at least half of what the node can.

    The second half of the rule keeps nodes thinner than a slice: they fill no voxel by half. A
    node of which no voxel holds a third is cut off by the scan's end and not labelled.
    """
    factor = canvas.factor
    size = (canvas.shape[0] // factor, *canvas.shape[1:])
    labels, best = np.zeros(size, np.uint8), np.zeros(size, np.float32)
    for number, drawn in enumerate(shares, start=1):
        if drawn is None:
            continue
        box, share = drawn
        part = (slice(box[0].start // factor, box[0].stop // factor), box[1], box[2])
        share = share * free[box]
        share = share.reshape(-1, factor, *share.shape[1:]).mean(axis=1)
        peak = float(share.max())
        if peak < _VISIBLE:
            continue
        wins = (share >= max(0.5 * peak, _VISIBLE - 0.1)) & (share > best[part])
        labels[part][wins] = number
        best[part][wins] = share[wins]
    return labels


def _paint(canvas: Canvas, image: FloatArray, organ: Organ, free: FloatArray) -> None:
    reached = canvas.distance(organ.shape, canvas.soft_mm)
    if reached is None:
        return
    box, distance = reached
    share = canvas.edge(distance)
    _blend(image[box], share, organ.hu)
    free[box] *= 1 - share


def _paint_soft(canvas: Canvas, image: FloatArray, shape: Ellipsoid, hu: float) -> None:
    """Paints what is no obstacle to anything and never leaves the body."""
    reached = canvas.distance(shape, canvas.soft_mm)
    if reached is not None:
        box, distance = reached
        _blend(image[box], canvas.edge(distance) * (image[box] > -500), hu)


def _paint_thin(canvas: Canvas, image: FloatArray, tube: Tube, air: FloatArray) -> None:
    """Paints a vessel inside the lung; one thinner than a pixel is as faint as it is thin."""
    reached = canvas.distance(tube, canvas.soft_mm)
    if reached is None:
        return
    box, distance = reached
    faint = min(1.0, 2.2 * float(tube.radii.mean()) / canvas.soft_mm)
    _blend(image[box], canvas.edge(distance) * air[box] * np.float32(faint), 45.0)


def _blend(image: FloatArray, share: FloatArray, hu: FloatArray | float) -> None:
    image += share * (hu - image)


def _squircle(
    x: FloatArray, y: FloatArray, half_x: float, half_y: float, square: float
) -> FloatArray:
    """Radius of an ellipse with fuller corners: below 1 inside, above 1 outside.

    Far outside the corner term would win and bring the inside back, hence the limits.
    """
    u = np.minimum((x / np.float32(half_x)) ** 2, 2.2)
    v = np.minimum((y / np.float32(half_y)) ** 2, 2.2)
    rho: FloatArray = np.sqrt(np.maximum(u + v - np.float32(square) * u * v, 0))
    return rho


def smooth_noise(shape: tuple[int, int, int], rng: np.random.Generator) -> FloatArray:
    """Smooth unit noise with a grain of about four points."""
    coarse = tuple(-(-n // 4) + 1 for n in shape)
    noise = zoom(rng.standard_normal(coarse, dtype=np.float32), 4, order=1)
    texture: FloatArray = noise[: shape[0], : shape[1], : shape[2]] * np.float32(1.5)
    return texture
