"""What is printed is what was meant: no command takes a path for markup or an emoji."""

from __future__ import annotations

import contextlib
import importlib
import io
import warnings
from pathlib import Path

import numpy as np
import pytest
from rich.table import Table
from support.runs import TINY
from support.synthetic_chest import SMALL, chest_with_spine, ellipsoid

from lnq.config.composition import quoted
from lnq.console import console
from lnq.volume import Volume
from lnq.volume_file import write_volume

AWKWARD = "[bold] [/old] :x: \\[i]"
"""A path of two folders: a style, an end without a beginning, an emoji and an escape."""


def test_nothing_is_markup(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("[red]a", title=":x:", caption="[/b]")
    table.add_row(AWKWARD)
    for stderr in (False, True):
        console(stderr=stderr).print(AWKWARD, 3.5, table)
        said = capsys.readouterr()
        shown = said.err if stderr else said.out
        assert shown.startswith(f"{AWKWARD} 3.5")
        assert all(text in shown for text in ("[red]a", ":x:", "[/b]", f" {AWKWARD} "))


def test_lines_are_as_long_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    console().print("word " * 100)
    assert capsys.readouterr().out == "word " * 100 + "\n"


def at(path: Path) -> str:
    return quoted(str(path))


def called(command: str, *arguments: str) -> tuple[int, str]:
    """The exit code of a command run in this process, and all that it said."""
    said = io.StringIO()
    main = importlib.import_module(f"lnq.{command}").main
    with (
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
        warnings.catch_warnings(action="ignore"),
        pytest.raises(SystemExit) as stop,
    ):
        main(list(arguments))
    return int(stop.value.code or 0), said.getvalue()


def write_data(data: Path) -> None:
    """A scan for training, one for testing, both with a node, and a damaged one."""
    node = ellipsoid(SMALL, (0, 20, 10), (25, 25, 25)).astype(np.uint8)
    rows = []
    for name, split in (("a[b]", "train"), ("[t]1", "test")):
        scan = chest_with_spine()
        scan.array[0, 0, 0] += len(rows)  # no duplicate
        write_volume(scan, data / "scans" / f"{name}.nrrd")
        write_volume(Volume(node, SMALL), data / "labels" / f"{name}.nrrd")
        rows.append(f"{name},scans/{name}.nrrd,labels/{name}.nrrd,full,{split},{name}")
    (data / "scans" / "damaged.nrrd").write_bytes(b"no header")
    rows.append("damaged,scans/damaged.nrrd,,none,train,damaged")
    (data / "cases.csv").write_text("id,image,label,supervision,split,group\n" + "\n".join(rows))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home") / AWKWARD


@pytest.fixture(scope="module")
def answers(home: Path) -> dict[str, tuple[int, str]]:
    """Exit code and output of every command, each in folders of that name."""
    data, store, run, sweep = (
        home / "data",
        home / "store",
        home / "sweep" / "[run]",
        home / "sweep",
    )
    write_data(data)
    published = home / "published.csv"
    published.write_text("Case,Dice,ASSD,Team\n1,0.5,2,[team]\n")
    figure = home / "fig.png"
    own = [f"paths.outputs={at(home / 'outputs')}"]
    listed = [f"data.root={at(data)}", "data=pairs", "data.layout.table=cases.csv", *own]
    measured = [f"references={at(data / 'labels')}", *own]
    arguments = {
        "doctor": [*listed, "num_workers=0"],
        "preprocess": [*listed, f"output={at(store)}", "num_workers=0",
                       "preprocessing.spacing_mm=[10,8,8]"],
        "export": [*listed, "format=nnunet", f"output={at(home / 'raw')}"],
        "figures": [f"store={at(store)}", "patch_size=[8,8,8]", f"output={at(figure)}", *own],
        "train": ["+experiment=baseline", f"store={at(store)}", f"run_dir={at(run)}", *TINY, *own],
        "predict": [f"checkpoint={at(run)}", f"input={at(data / 'scans')}", *own],
        "evaluate": [f"predictions={at(run / 'predictions')}", *measured],
        "compare": [f"runs=[{at(run)},{at(run / 'evaluation')}]", *own],
        "collect": [f"sweep={at(sweep)}", *own],
        "rank": [f"published={at(published)}", f"evaluation={at(run)}", *own],
        "report": [f"run={at(run)}", *own],
    }  # fmt: skip
    return {command: called(command, *given) for command, given in arguments.items()}


DAMAGED = "cannot read [{home}/data/scans/damaged.nrrd]"


@pytest.mark.training
@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        ("doctor", 3, ["details in {home}/outputs/doctor/pairs.json", "a[b]  ", DAMAGED]),
        ("preprocess", 3, ["-> {home}/store\n", DAMAGED, "in {home}/store/failures.json"]),
        ("export", 3, ["-> {home}/raw/Dataset501_LNQ\n", DAMAGED]),
        ("figures", 0, ["the figure is {home}/fig.png"]),
        ("train", 0, ["{home}/sweep/[run]\n", "{home}/sweep/[run]/checkpoints/last.ckpt\n"]),
        ("predict", 3, ["-> {home}/sweep/[run]/predictions\n", DAMAGED]),
        ("evaluate", 0, ["tables are in {home}/sweep/[run]/evaluation"]),
        ("compare", 0, ["A = {home}/sweep/[run], B", "are in {home}/outputs/compare", " [0."]),
        ("collect", 0, ["are in {home}/sweep/collection", "  [run]  "]),
        ("rank", 0, ["is in {home}/outputs/rank", "  [team]  "]),
        ("report", 0, ["the report is {home}/sweep/[run]/report.html", " [run] "]),
    ],
)  # fmt: skip
def test_commands_print_paths_as_they_are(
    command: str, code: int, told: list[str], answers: dict[str, tuple[int, str]], home: Path
) -> None:
    got, said = answers[command]
    assert got == code, said
    for text in told:
        assert text.format(home=home) in said
