"""Which of a segmenter's structures can hold no lymph node of the chest, by name.

The names are TotalSegmentator's: of its tasks `total` (versions 1 and 2), `total_mr` (whose
`vertebrae` and lungs its combined masks bear, too), `heartchambers_highres` and `vertebrae_body`.
Left out are the lungs' lobes, in whose masks nodes of the hilum and beside the bronchi lie (their
air is known by its HU), and what wraps other tissue: trunk, fat, muscles in general, effusions.
docs/how-to/background-masks.md argues the list.
"""

from __future__ import annotations

from collections.abc import Iterator


def _sided(*names: str) -> Iterator[str]:
    return (f"{name}_{side}" for name in names for side in ("left", "right"))


def _vertebrae() -> Iterator[str]:
    counts = {"C": 7, "T": 12, "L": 5}
    return (f"vertebrae_{part}{n}" for part, last in counts.items() for n in range(1, last + 1))


NO_NODES = frozenset({
    # The heart and its chambers.
    "heart", "heart_myocardium", "atrial_appendage_left",
    *_sided("heart_atrium", "heart_ventricle"),
    # Vessels.
    "aorta", "pulmonary_artery", "pulmonary_vein", "brachiocephalic_trunk", "superior_vena_cava",
    "inferior_vena_cava", "portal_vein_and_splenic_vein",
    *_sided("subclavian_artery", "common_carotid_artery", "brachiocephalic_vein", "iliac_artery",
            "iliac_vena"),
    # Airways, gullet, thyroid gland.
    "trachea", "esophagus", "thyroid_gland",
    # The belly.
    "liver", "spleen", "stomach", "pancreas", "gallbladder", "duodenum", "small_bowel", "colon",
    "urinary_bladder", "prostate", *_sided("kidney", "kidney_cyst", "adrenal_gland"),
    # Bones, what lies in them, and the muscles along them.
    "vertebrae", "vertebrae_S1", *_vertebrae(), "vertebrae_body", "intervertebral_discs", "sacrum",
    "spinal_cord", "sternum", "costal_cartilages", "skull", "brain",
    *_sided("clavicula", "scapula", "humerus", "hip", "femur"),
    *(f"rib_{side}_{n}" for side in ("left", "right") for n in range(1, 13)),
    *_sided("autochthon", "iliopsoas", "gluteus_maximus", "gluteus_medius", "gluteus_minimus"),
})  # fmt: skip
