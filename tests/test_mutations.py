"""Damaged files of every format: refused in words or read, never a traceback.

`benchmarks/mutations.py` does the same at length, and measures memory.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from support.mutations import SUBJECTS, mutated, mutations

from lnq.errors import CaseError

COUNT = 20
# What lies behind their checksums cannot change unnoticed; their headers can.
CHECKSUMMED = ("nii.gz", "nrrd packed", "mha packed")


@pytest.mark.parametrize("name", SUBJECTS)
@pytest.mark.slow
def test_no_damage_ends_in_a_traceback(tmp_path: Path, name: str) -> None:
    outcomes = {number: read() for number, read in mutations(name, tmp_path, COUNT, seed=1)}
    kinds = [kind for kind, _ in outcomes.values()]
    assert "traceback" not in kinds, outcomes
    assert kinds.count("refused") >= 3, kinds
    words = [words for kind, words in outcomes.values() if kind == "refused"]
    assert all("\n" not in text and ". " in text for text in words), words


@pytest.mark.parametrize("name", CHECKSUMMED)
def test_packed_voxels_stay_what_they_were(tmp_path: Path, name: str) -> None:
    subject = SUBJECTS[name]
    path = subject.make(tmp_path)
    sound = path.read_bytes()
    rng = np.random.default_rng(2)
    for _ in range(COUNT):
        at = int(rng.integers(600, len(sound)))
        path.write_bytes(sound[:at] + mutated(sound[at:], rng))
        if path.read_bytes() != sound:
            with pytest.raises(CaseError, match=r"damaged|cut off|promises|holds"):
                subject.read(path)
