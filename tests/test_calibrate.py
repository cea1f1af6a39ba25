"""`lnq.calibrate`: a run's threshold from cases that its training never saw."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.stores import write_store
from support.untrained import untrained_run

import lnq.calibrate
from lnq.calibration import Calibration, read_calibration
from lnq.config.command import parse
from lnq.config.composition import compose
from lnq.data.store.case_store import CaseStore
from lnq.errors import UsageError
from lnq.evaluation.threshold_sweep import THRESHOLDS
from lnq.files import sha256, sole_user
from lnq.run_folder import RunFolder
from lnq.runs import calibrating
from lnq.runs.configuration import GIVEN, TrainConfig
from lnq.runs.next_steps import using

PATCH = (4, 8, 8)
CASES = {
    "a": ("train", "partial"),
    "b": ("train", "partial"),
    "held": ("train", "partial"),
    "held too": ("train", "partial"),
    "complete": ("train", "full"),
    "v": ("val", "full"),
    "unmarked": ("val", "none"),
}
HELD = ["held", "held too"]


@dataclass(frozen=True)
class Place:
    """A store, and a run that was trained on `a` and `b` of it, in name."""

    store: Path
    run: Path

    def kept(self) -> Calibration:
        calibration = read_calibration(RunFolder(self.run))
        assert calibration is not None
        return calibration


def make_store(folder: Path, patients: dict[str, str] | None = None) -> Path:
    rng = np.random.default_rng(0)
    cases = {}
    for name, (split, supervision) in CASES.items():
        label = np.zeros((6, 14, 14), np.uint8)
        label[1:3, 2:5, 2:5] = label[4, 8:11, 9:12] = 1
        image = rng.normal(0, 0.3, label.shape).astype(np.float32) + label
        marked = None if supervision == "none" else label
        cases[name] = (image, marked, split, supervision)
    return write_store(folder, cases, patients or {})


def make_run(folder: Path, in_store: Path, held_out: Sequence[str] = HELD, **config: Any) -> Path:
    record = {"cases": ["a", "b"], "held_out": list(held_out)}
    settings = CaseStore(in_store).settings
    return untrained_run(folder, PATCH, settings, seed=2, record=record,
                         config={"store": str(in_store)} | config)  # fmt: skip


@pytest.fixture
def place(tmp_path: Path) -> Place:
    store = make_store(tmp_path / "store")
    return Place(store, make_run(tmp_path / "run", store))


@pytest.fixture(autouse=True)
def without_figures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """They take longer than all the rest; one test looks at them."""
    if request.function is not test_the_run_keeps_its_threshold_and_what_it_rests_on:
        monkeypatch.setattr(lnq.calibrate, "save", lambda *_: None)


Called = Callable[..., tuple[int, str]]


@pytest.fixture
def calibrate(capsys: pytest.CaptureFixture[str]) -> Called:
    """`calibrate(*arguments)`: exit code, and what was said."""

    def called(*arguments: object) -> tuple[int, str]:
        with pytest.raises(SystemExit) as stop:
            lnq.calibrate.main(["device=cpu", "postprocess=none", "draws=20", *map(str, arguments)])
        told = capsys.readouterr()
        return int(stop.value.code or 0), told.out + told.err

    return called


@pytest.mark.slow
def test_the_run_keeps_its_threshold_and_what_it_rests_on(place: Place, calibrate: Called) -> None:
    code, said = calibrate(f"run={place.run}", "rule=count")
    assert code == 0
    kept = place.kept()
    assert (kept.rule, kept.cases, kept.num_nodes) == ("count", HELD, 4)
    assert kept.checkpoint_sha256 == sha256(RunFolder(place.run).checkpoint)
    assert kept.threshold in THRESHOLDS
    assert kept.interval is not None
    assert kept.interval[0] <= kept.interval[1]
    assert kept.curve.threshold == THRESHOLDS.tolist()
    assert f"threshold {kept.threshold:.6g} (95 %:" in said
    assert "rests on 4 annotated nodes of 2 held-out cases" in said
    assert f"python -m lnq.predict checkpoint={place.run} input=SCANS" in said
    for suffix in (".svg", ".png"):
        assert RunFolder(place.run).calibration_figure.with_suffix(suffix).stat().st_size > 10_000
    content = json.loads((place.run / "calibration.json").read_text())
    assert content["stage"] == "calibrate"
    assert content["config"]["rule"] == "count"


@pytest.mark.slow
def test_complete_cases_are_preferred_and_those_for_validation_are_among_them(
    place: Place, calibrate: Called
) -> None:
    assert calibrate(f"run={place.run}")[0] == 0
    kept = place.kept()
    assert (kept.rule, kept.cases, kept.num_nodes) == ("dice", ["v"], 2)
    assert kept.interval is None  # one patient
    assert calibrate(f"run={place.run}", "rule=f1")[0] == 0
    assert place.kept().rule == "f1"


@pytest.mark.slow
def test_a_held_out_complete_case_is_one(tmp_path: Path, calibrate: Called) -> None:
    store = make_store(tmp_path / "store")
    run = make_run(tmp_path / "run", store, [*HELD, "complete"])
    assert calibrate(f"run={run}")[0] == 0
    assert Place(store, run).kept().cases == ["complete", "v"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("held_out", "rule"), [(["complete"], "dice"), ([*HELD, "complete"], "expected_dice")]
)
def test_what_is_measured_goes_before_what_the_run_expects(
    held_out: list[str], rule: str, tmp_path: Path, calibrate: Called
) -> None:
    store = make_store(tmp_path / "store")
    run = make_run(tmp_path / "run", store, held_out, expected_nodes=4)
    assert calibrate(f"run={run}")[0] == 0
    assert Place(store, run).kept().rule == rule
    assert calibrate(f"run={run}", "expected_nodes=4")[0] == 0
    assert Place(store, run).kept().rule == "expected_dice"


@pytest.mark.slow
def test_expected_nodes_are_of_the_size_of_all_annotated_ones(
    place: Place, calibrate: Called
) -> None:
    assert calibrate(f"run={place.run}", "expected_nodes=6")[0] == 0
    kept = place.kept()
    assert (kept.rule, kept.expected_nodes, kept.cases) == ("expected_dice", 6, HELD)
    node_ml = (18 + 9) / 2 * 3 / 1000  # voxels of 3 mm³
    assert kept.expected_ml == pytest.approx(6 * node_ml)


@pytest.mark.slow
def test_the_run_may_say_what_it_expects(tmp_path: Path, calibrate: Called) -> None:
    store = make_store(tmp_path / "store")
    run = make_run(tmp_path / "run", store, expected_nodes=4)
    assert calibrate(f"run={run}")[0] == 0
    assert Place(store, run).kept().expected_nodes == 4
    assert calibrate(f"run={run}", "expected_nodes=5")[0] == 0
    assert Place(store, run).kept().expected_nodes == 5
    assert calibrate(f"run={run}", "rule=count")[0] == 0
    assert Place(store, run).kept().expected_nodes is None


@pytest.mark.slow
def test_the_mask_is_cleaned_as_predict_would(place: Place, calibrate: Called) -> None:
    volumes = []
    for given in ("postprocess.min_volume_mm3=0", "postprocess.min_volume_mm3=30",
                  "postprocess.hu_window=[-300,900]"):  # fmt: skip
        assert calibrate(f"run={place.run}", "rule=count", given)[0] == 0
        volumes.append(place.kept().curve.volume_ml[50])
    assert volumes[1] < volumes[0] > volumes[2]


@pytest.mark.slow
def test_another_checkpoint_of_the_run(place: Place, calibrate: Called) -> None:
    other = place.run / "checkpoints" / "epoch=1.ckpt"
    elsewhere = make_run(place.run.with_name("elsewhere"), place.store, note="another")
    other.write_bytes(RunFolder(elsewhere).checkpoint.read_bytes())
    assert calibrate(f"run={place.run}", f"checkpoint='{other}'", "rule=count")[0] == 0
    assert place.kept().checkpoint_sha256 == sha256(other)


@pytest.mark.slow
def test_a_case_that_cannot_be_read_is_told(place: Place, calibrate: Called) -> None:
    (place.store / "cases" / "held" / "image.npy").write_bytes(b"damaged")
    code, said = calibrate(f"run={place.run}", "rule=count")
    assert code == 3
    assert "held: failed: a preprocessed array is not what was recorded" in said
    kept = place.kept()
    assert kept.cases == ["held too"]
    assert [failure["case"] for failure in kept.failures] == ["held"]


def test_an_interrupt_leaves_nothing(
    place: Place, calibrate: Called, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    before = sorted(path.name for path in place.run.iterdir())
    monkeypatch.setattr(calibrating, "sweep_case", interrupted)
    code, said = calibrate(f"run={place.run}", "rule=count")
    assert code == 130
    assert "nothing was written; the same command begins again" in said
    assert sorted({path.name for path in place.run.iterdir()} - {".lock"}) == before


def test_a_run_in_use_is_left_alone(place: Place, calibrate: Called) -> None:
    with sole_user(place.run):
        code, said = calibrate(f"run={place.run}", "rule=count")
    assert code == 2
    assert "another run is writing into this folder" in said


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["rule=count"], "nothing to choose a threshold on .*: the run has no held-out case. Train "
                         "with datamodule.holdout=0.2"),
        (["rule=expected_dice"], "rule=expected_dice needs expected_nodes"),
        (["rule=count", "expected_nodes=3"], "expected_nodes=3: only for rule=expected_dice"),
        (["rule=volume"], "rule=.volume.: input should be"),
        (["expected_nodes=0"], "expected_nodes=0: "),
        (["smoothing=-1"], "smoothing=-1: "),
        (["store=/nowhere"], "no preprocessed data"),
        (["checkpoint=/nowhere"], "no checkpoint"),
    ],
)  # fmt: skip
def test_what_is_refused(given: list[str], told: str, tmp_path: Path, calibrate: Called) -> None:
    store = make_store(tmp_path / "store")
    run = make_run(tmp_path / "run", store, held_out=[])
    code, said = calibrate(f"run={run}", *given)
    assert code == 2
    assert re.search(told, " ".join(said.split())), said
    assert not RunFolder(run).calibration.exists()


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"store": None}, "the run's configuration is damaged .*store: "),
        ({"expected_nodes": "many"}, "the run's configuration is damaged .*expected_nodes: "),
    ],
)
def test_a_stranger_s_configuration(
    config: dict[str, Any], told: str, tmp_path: Path, calibrate: Called
) -> None:
    store = make_store(tmp_path / "store")
    code, said = calibrate(f"run={make_run(tmp_path / 'run', store, **config)}")
    assert code == 2
    assert re.search(told, " ".join(said.split())), said


def test_whom_training_saw_is_refused(tmp_path: Path, calibrate: Called) -> None:
    torn = make_store(tmp_path / "store", {"a": "P", "held": "P"})
    run = make_run(tmp_path / "run", torn)
    code, said = calibrate(f"run={run}", "rule=count")
    assert code == 2
    assert "training saw these cases or their patients" in said
    assert "held. Give store=DIR" in said


@pytest.mark.slow
def test_another_store_is_refused(place: Place, tmp_path: Path, calibrate: Called) -> None:
    other = make_store(tmp_path / "other")
    manifest = json.loads((other / "manifest.json").read_text())
    manifest["settings"]["spacing_mm"] = [3.0, 2.0, 2.0]
    (other / "manifest.json").write_text(json.dumps(manifest))
    code, said = calibrate(f"run={place.run}", f"store={other}")
    assert code == 2
    assert "the store was prepared otherwise than the run's" in said
    few = write_store(tmp_path / "few", {"a": (np.ones((4, 8, 8)), None, "train", "none")})
    code, said = calibrate(f"run={place.run}", f"store={few}", "rule=count")
    assert code == 2
    assert "held-out cases are not in the store" in said


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["a digit", "no hash", "no json", "another shape"])
def test_a_changed_calibration_is_refused(place: Place, calibrate: Called, damage: str) -> None:
    assert calibrate(f"run={place.run}", "rule=count")[0] == 0
    file = RunFolder(place.run).calibration
    content = json.loads(file.read_text())
    if damage == "a digit":
        content["calibration"]["threshold"] = 0.123
    elif damage == "no hash":
        del content["sha256"]
    elif damage == "another shape":
        content = []
    file.write_text("{" if damage == "no json" else json.dumps(content))
    with pytest.raises(UsageError, match="the run's calibration is damaged"):
        read_calibration(RunFolder(place.run))


def test_a_run_without_one(place: Place) -> None:
    assert read_calibration(RunFolder(place.run)) is None


@pytest.mark.parametrize("holdout", [0.0, 0.2])
def test_training_says_how_to_go_on(place: Place, holdout: float) -> None:
    composed = compose(
        "train", [f"store={place.store}", f"run_dir={place.run}", f"datamodule.holdout={holdout}"]
    )
    lines = using(parse(composed, TrainConfig, GIVEN))
    assert (f"python -m lnq.calibrate run={place.run}" in lines) == (holdout > 0)
