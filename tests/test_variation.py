"""Which runs are alike but for their seed, by the configurations that commands really have."""

from __future__ import annotations

from typing import Any

import pytest
from omegaconf import OmegaConf

from lnq.config.composition import compose
from lnq.reporting.variation import alike, variations


def config(outputs: str, row: str, seed: int, *others: str) -> dict[str, Any]:
    """What `make table1`, or a sweep, trains a row with."""
    given = [f"+experiment=[table1/{row},phantom]", f"seed={seed}", f"paths.outputs={outputs}"]
    given += [f"run_dir={outputs}/{row}", *others]
    resolved: Any = OmegaConf.to_container(compose("train", given), resolve=True)
    return resolved


@pytest.mark.parametrize("row", ["e", "g"])
@pytest.mark.slow
def test_seeds_with_datasets_and_pretraining_of_their_own_are_one_row(row: str) -> None:
    watched = (["logger=csv"], ["callbacks.progress=null"], ["+callbacks.trial.number=3"])
    table = variations([
        config(f"outputs/table1/seed{seed}", row, seed, *others)
        for seed, others in enumerate(watched)
    ])  # fmt: skip
    assert list(table) == ["seed", "method.mode"]
    assert table["seed"].to_list() == [0, 1, 2]
    assert [(words, len(runs)) for words, runs in alike(table, ["method.mode"])] == [("", 3)]


@pytest.mark.slow
def test_what_differs_beside_the_seed_parts_runs_and_is_named_once() -> None:
    full = "augmentation@datamodule.transform=full"
    table = variations([
        config("out", "e", 0), config("out", "e", 1),
        config("out", "e", 0, full), config("out", "e", 1, full, "method.mode=recommended"),
        config("out", "e", 1, "init_from=here"), config("out", "e", 0, "store=elsewhere"),
    ])  # fmt: skip
    assert {"init_from", "store", "datamodule.transform.transforms.0.degrees"} <= set(table)
    augmented = "datamodule.transform.transforms.0._target_=torchio.RandomAffine"
    usual = augmented.replace("Affine", "Flip")
    found = {words: list(runs.index) for words, runs in alike(table, [*table][1:])}
    store = "store=OUTPUTS/preprocess/phantom"
    assert found == {
        f" ({usual}, {store})": [0, 1],
        f" ({augmented}, {store})": [2],
        f" (recommended, {augmented}, {store})": [3],
        f" ({usual}, init_from=here, {store})": [4],
        f" ({usual}, store=elsewhere)": [5],
    }
