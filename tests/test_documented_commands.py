"""Every command of README and docs runs, in its order, on phantoms and networks that are tiny."""

from __future__ import annotations

import csv
import re
import shlex
import shutil
import tomllib
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from support import REPOSITORY
from support.dicom_phantom import write_ct, write_seg
from support.phantoms import drawn_once
from support.runs import TINY

from lnq.config.command import parse
from lnq.config.composition import Arguments
from lnq.config.sweeps import plan_sweep
from lnq.data.case import Split
from lnq.data.phantom import LargestNodes, PhantomCase
from lnq.train import GIVEN, TrainConfig
from lnq.volume import Volume, to_sitk

COMMAND = re.compile(
    r"^ {4,}((?:python|lnq|make|wandb|pip|tensorboard) .+)$"
    r"|`((?:python -m lnq\.|lnq |make |pip |wandb )[^`]*)`",
    re.MULTILINE,
)
"""A line of a block, or a command in the text."""
REMARK = re.compile(r"\s{2,}(#|[a-zA-Z]).*")
GENERATED = ("docs/reference/commands.md", "docs/reference/configuration.md")
"""What `--help` says; test_docs.py holds them to it."""
DOCUMENTS = [
    path.relative_to(REPOSITORY).as_posix()
    for path in [
        REPOSITORY / "README.md",
        REPOSITORY / "DESIGN.md",
        *sorted((REPOSITORY / "docs").rglob("*.md")),
    ]
    if path.relative_to(REPOSITORY).as_posix() not in GENERATED
]
HOW_TO = (
    "docs/how-to/own-scans.md", "docs/reference/layouts.md", "docs/how-to/dicom.md",
    "docs/how-to/sweeps.md", "docs/how-to/watching.md", "docs/how-to/background-masks.md",
    "docs/how-to/threshold.md",
    "docs/explanation/three-kinds.md",
)  # fmt: skip
"""Pages whose commands of lnq are run one after the other, on the same scans and outputs."""
RUN_HERE = (*HOW_TO, "docs/how-to/lnq2023.md", "docs/tutorial.md")
RUN_ELSEWHERE = {
    "make setup": "test_recipes.py::test_the_test_recipe_checks_and_tests",
    "make demo": "test_end_to_end.py::test_every_stage_leaves_a_manifest",
    "make test": "test_recipes.py::test_the_test_recipe_checks_and_tests",
    "make check": "test_recipes.py::test_the_test_recipe_checks_and_tests",
    "make table1": "test_recipes.py::test_table1_measures_every_row_of_every_seed",
    "make docs": "test_docs.py::test_the_site_is_whole_and_loads_nothing_from_elsewhere",
    "pip install '.[": "test_documented_commands.py::test_extras_are_there",
    "pip install": "test_wheel.py::test_the_wheel_holds_configuration_and_templates",
    "lnq NAME": "test_help.py::test_the_entry_point_lists_every_command_and_suggests_the_nearest",
    "wandb sync": "test_wandb.py::test_offline_interrupted_resumed_and_synced",
    "wandb login": "test_wandb.py::test_offline_interrupted_resumed_and_synced",
    "python -m lnq.NAME": "test_help.py::test_each_command_explains_itself",
    "python -m lnq.train --help": "test_help.py::test_each_command_explains_itself",
    "python -m lnq.train -m +experiment=dbdmp +sweep=sensitivity hydra/launcher=parallel":
        "test_sweeps.py::test_launchers_run_jobs_in_processes_of_their_own",
    "python -m lnq.train -m +experiment=dbdmp +sweep=sensitivity hydra/launcher=slurm "
    "hydra.launcher.partition=NAME":
        "test_sweeps.py::test_slurm_takes_every_option_of_our_launcher",
    "python -m lnq.train +experiment=dbdmp trainer.devices=4":
        "test_train.py::test_two_processes_train_on_different_patches",
    "python -m lnq.train +experiment=dbdmp data=pairs init_from=outputs/genesis "
    "run_dir=outputs/dbdmp ckpt_path=last": "test_resume.py::test_a_signal_between_steps",
    "python -m lnq.data.phantom.picture": "test_phantom.py::test_an_overview_is_drawn",
    "python -m lnq.predict checkpoint=AUTHORS.pth":
        "test_original.py::test_predict_uses_it_with_the_originals_constants",
    "python -m lnq.train +experiment=dbdmp data=pairs init_from=AUTHORS.pth":
        "test_original.py::test_train_begins_with_it_and_tells_of_other_preprocessing",
    "python -m lnq.preprocess data.root=DIR checkpoint=AUTHORS.pth":
        "test_preprocess_checkpoint.py::test_the_authors_checkpoints_bring_the_originals_constants",
}  # fmt: skip
"""How other commands begin, and the test that runs each as far as a machine without it can."""
# The paper's spacing, patches and schedules, made small.
SMALL = {
    "preprocess": [
        "preprocessing.spacing_mm=[6,5,5]", "preprocessing.normalisation=ct", "num_workers=0",
    ],
    "doctor": ["num_workers=0"],
    "figures": ["patch_size=[16,40,64]"],
}  # fmt: skip
TRAIN = [
    *TINY, "datamodule.steps_per_epoch=1", "trainer.max_epochs=1", "callbacks.ramp_up=null",
    "datamodule.patch_size=[8,32,32]",  # a scan has thousands of windows of TINY's
    "trainer.check_val_every_n_epoch=1",
]  # fmt: skip
SMALLER = {
    "+sweep=sensitivity": [
        "hydra.sweeper.jobs.values={method.tau:[0.3],method.gamma:[0.8],"
        "method.alpha:[0.4],method.lambda_max:[2.0]}"
    ],
    "+sweep=folds": [f"~hydra.sweeper.jobs.points.fold-{number}" for number in (2, 3, 4)],
    "+sweep=optuna": ["hydra.sweeper.jobs.n_trials=1"],
}


def text_of(document: str) -> str:
    """A page with the lines of a command that goes on put together."""
    return re.sub(r"\s*\\\n\s*", " ", (REPOSITORY / document).read_text())


def commands(text: str) -> list[list[str]]:
    """The words of each command, without remarks beside it."""
    found = [line or inline for line, inline in COMMAND.findall(text)]
    return [shlex.split(REMARK.sub("", " ".join(command.split("\n")))) for command in found]


def commands_of_lnq(document: str) -> list[tuple[str, list[str]]]:
    """Stage and arguments of each command of lnq on a page."""
    found = [words for words in commands(text_of(document)) if words[:2] == ["python", "-m"]]
    return [(words[2].removeprefix("lnq."), words[3:]) for words in found]


def run(stage: str, arguments: Sequence[str], places: dict[str, Path]) -> None:
    """Runs a command with the page's places filled in, and everything small."""
    line = [re.sub(r"\b(DIR|FILE)\b", lambda m: str(places[m[0]]), a) for a in arguments]
    line += SMALL.get(stage, [])
    if stage == "train":
        line += [
            *TRAIN,
            *(extra for sweep, extras in SMALLER.items() if sweep in line for extra in extras),
        ]
        for debug in (a for a in line if a.startswith("+debug=")):  # names are of the second
            line += ["trainer.max_steps=1", f"run_dir=outputs/{debug[7:]}"]
    with pytest.raises(SystemExit) as end:
        import_module(f"lnq.{stage}").main(line)
    assert end.value.code == 0, (stage, line)


def phantom(number: int, split: Split) -> PhantomCase:
    return drawn_once(0, split, number, LargestNodes(1), size_yx=64)


def mask(case: PhantomCase, *, complete: bool) -> Volume:
    array = case.instances.array
    kept = array > 0 if complete else np.isin(array, list(case.annotated))
    return Volume(kept.astype(np.uint8), case.instances.grid)


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The table and folders of the page about own scans."""
    root = tmp_path_factory.mktemp("own")
    rows = []
    splits: list[Split] = ["train", "val", "train"]
    for number, split in enumerate(splits, start=1):
        name, case = f"P{number}", phantom(number, split)
        for folder, volume in {
            "scans": case.image,
            "partial": mask(case, complete=split == "val"),
            "complete": mask(case, complete=True),
        }.items():
            (root / folder).mkdir(exist_ok=True)
            sitk.WriteImage(to_sitk(volume), root / folder / f"{name}.nii.gz")
        (root / "masks" / name).mkdir(parents=True)
        heart = Volume((case.image.array > 100).astype(np.uint8), case.image.grid)
        sitk.WriteImage(to_sitk(heart), root / "masks" / name / "heart.nii.gz")
        supervision = "partial" if split == "train" else "full"
        rows.append([name, f"scans/{name}.nii.gz", f"partial/{name}.nii.gz", supervision, split])
    with (root / "cases.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([["id", "image", "label", "supervision", "split"], *rows])
    return root


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands are typed."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """DICOM as from TCIA: a partial scan for training, two complete ones; and published results."""
    root = tmp_path_factory.mktemp("tcia")
    splits: list[Split] = ["train", "test", "val"]
    for number, split in enumerate(splits, start=1):
        case = phantom(number, split)
        ct = write_ct(root / f"{number}/ct", f"case_{number:04d}", case.image.array,
                      spacing=case.image.grid.spacing_mm)  # fmt: skip
        node = mask(case, complete=split != "train").array.astype(bool)
        kind = "Partially Annotated" if split == "train" else "Fully Annotated"
        write_seg(root / f"{number}/seg.dcm", ct, {"Lymph node": node}, kind)
    table = root.parent / "published.csv"
    table.write_text("Case,Dice,ASSD,Team\n2,0.5,7.0,first\n2,0.4,9.0,second\n")
    return {"DIR": root, "FILE": table}


def marks_of(page: str) -> tuple[pytest.MarkDecorator, ...]:
    """What a page's commands cost."""
    trains = any(stage == "train" for stage, _ in commands_of_lnq(page))
    return (pytest.mark.process, pytest.mark.training) if trains else (pytest.mark.slow,)


@pytest.mark.parametrize("document", [pytest.param(page, marks=marks_of(page)) for page in HOW_TO])
def test_commands_on_your_own_scans(
    document: str, scans: Path, collection: dict[str, Path], home: Path,
    monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    monkeypatch.chdir(home)
    places = {"DIR": scans}
    for stage, arguments in commands_of_lnq(document):
        if stage == "dashboard":
            request.getfixturevalue("wandb_server")
        if stage == "compare":
            second_run("baseline", places)
        if "+experiment=[genesis,phantom]" in arguments:  # instead of the full-sized runs before it
            shutil.rmtree("outputs/genesis")
            shutil.rmtree("outputs/dbdmp")
        run(stage, arguments, collection if document.endswith("dicom.md") else places)
    if document == HOW_TO[0]:  # every stage has been there
        assert undocumented(home / "outputs") == set()


def undocumented(outputs: Path) -> set[str]:
    """Kinds of files below a folder that docs/reference/outputs.md does not name."""
    page = text_of("docs/reference/outputs.md")
    found = (path.name for path in outputs.rglob("*") if path.is_file())
    named = {name.replace("pairs", "NAME") for name in found}
    masks = {name for name in named if name.endswith((".nii.gz", ".nrrd", ".dcm"))}
    named -= {path.name for path in outputs.rglob("previews/*.png")}
    return {name for name in named - masks if name not in page}


def second_run(name: str, places: dict[str, Path]) -> None:
    folder = f"outputs/{name}"
    run("train", [f"+experiment={name}", "data=pairs", f"run_dir={folder}"], places)
    run("predict", [f"checkpoint={folder}", "input=DIR/scans"], places)
    measured = [f"predictions={folder}/predictions", "references=DIR/complete"]
    run("evaluate", measured, places)


@pytest.mark.process
@pytest.mark.training
def test_commands_from_download_to_table(
    collection: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for stage, arguments in commands_of_lnq("docs/how-to/lnq2023.md"):
        run(stage, arguments, collection)
    rows = (tmp_path / "outputs/sweeps/table1/collection/table1.md").read_text()
    assert all(f"| {row} " in rows for row in ("baseline", *"abcdefg"))


@pytest.mark.process
@pytest.mark.training
def test_commands_of_the_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    few = [f"data.layout.num_{split}={n}" for split, n in (("train", 1), ("val", 1), ("test", 2))]
    for stage, arguments in commands_of_lnq("docs/tutorial.md"):
        reads = stage in ("doctor", "preprocess")
        run(stage, [*arguments, *([*few, "data.layout.size_yx=64"] if reads else [])], {})
    assert (tmp_path / "outputs/report.html").is_file()


def test_the_tutorial_is_the_demo() -> None:
    """The stages of `make demo`, in its order, among those of the tutorial."""
    recipe = re.findall(r"lnq\.(\w+)", (REPOSITORY / "Makefile").read_text().split("\ndemo:")[1]
                        .split("\n\n")[0])  # fmt: skip
    walked = [stage for stage, _ in commands_of_lnq("docs/tutorial.md")]
    assert set(recipe) <= set(walked)
    assert [stage for stage in walked if stage in ("preprocess", "report")] == (
        ["preprocess", "report"]
    )


@pytest.mark.slow
def test_commands_that_need_a_cluster_compose() -> None:
    for stage, arguments in commands_of_lnq("docs/how-to/clusters.md"):
        assert stage == "train"
        jobs = plan_sweep(
            stage, Arguments.parse(arguments), lambda cfg: parse(cfg, TrainConfig, GIVEN)
        ).jobs
        assert jobs


def test_extras_are_there() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    named = {
        extra
        for document in DOCUMENTS
        for extra in re.findall(r"pip install '([^']*)'", text_of(document))
    }
    assert {f".[{extra}]" for extra in ("dicom", "sweep", "track", "docs")} == named
    assert {extra[2:-1] for extra in named} <= set(project["optional-dependencies"])


def uncovered(text: str) -> list[str]:
    """Commands that no test is known to run."""
    here = [words for document in RUN_HERE for words in commands(text_of(document))]
    return [
        shlex.join(words)
        for words in commands(text)
        if not (words in here and words[0] == "python")
        and not shlex.join(words).startswith(tuple(RUN_ELSEWHERE))
    ]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_is_run_by_a_test(document: str) -> None:
    """A command that is added where nothing runs it is added above, with its test."""
    assert uncovered(text_of(document)) == []


def test_tests_that_run_commands_elsewhere_are_there() -> None:
    said = "\n".join(text_of(document) for document in DOCUMENTS)
    for beginning, test in RUN_ELSEWHERE.items():
        assert beginning in said
        file, name = test.split("::")
        assert f"def {name}(" in (REPOSITORY / "tests" / file).read_text()


@pytest.mark.parametrize("added", ["so does `python -m lnq.new x=1`.", "    make new   # a target",
                                   "    wandb sweep new.yaml"])  # fmt: skip
def test_a_command_that_nothing_runs_is_found(added: str) -> None:
    assert len(uncovered(f"Some words:\n\n{added}\n")) == 1
