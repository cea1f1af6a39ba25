"""The report: whole, self-contained, honest about what is missing, safe with any name."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk

from lnq.evaluation import evaluate_folders
from lnq.report import main
from lnq.reporting import read_runs, write_report
from lnq.reporting.cases import view_case, view_cases, worst_cases
from lnq.reporting.curves import logged_values, training_curves
from lnq.reporting.page import case_rows, summary_rows
from lnq.volume import Array, Grid, Volume, to_sitk

GRID = Grid((8, 20, 24), (3.0, 1.5, 1.5), (-10.0, 5.0, 40.0))
EVIL = '<script>alert(1) & "onload="x'
LOGGED = """epoch,step,lr-SGD,train/loss,train/lambda_p,val/dice
,0,0.01,,,
0,0,,3.0,0.01,
0,1,,5.0,0.01,
,2,0.005,,,
1,2,,2.0,0.02,
1,3,,,,0.5
"""


class Page(HTMLParser):
    """What a browser would see: tags with attributes, and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def sources(self) -> list[str]:
        return [a["src"] or "" for tag, a in self.tags if tag == "img"]


def block(*where: slice) -> Array:
    array = np.zeros(GRID.size, dtype=np.uint8)
    array[where] = 1
    return array


LARGE = block(slice(1, 5), slice(3, 10), slice(3, 10))
SMALL = block(slice(5, 7), slice(14, 18), slice(14, 18))
FALSE = block(slice(1, 3), slice(14, 18), slice(2, 5))


def save(path: Path, array: Array) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(to_sitk(Volume(array, GRID)), path)
    return path


def make_run(folder: Path, cases: dict[str, tuple[Array, Array]], *, name: str = "run") -> Path:
    """A run folder with predictions and an evaluation, cases given as (reference, prediction)."""
    run = folder / name
    run.mkdir(parents=True)
    record: dict[str, Any] = {
        "stage": "train", "command": ["train.py", "+experiment=dbdmp"], "config": {"seed": 0},
        "created": "2026-01-01T00:00:00+00:00", "git_commit": "abc1234", "versions": {"lnq": "0"},
    }  # fmt: skip
    (run / "manifest.json").write_text(json.dumps(record))
    (run / "config.yaml").write_text(f"seed: 0\nnote: {EVIL}\n")
    (run / "metrics.csv").write_text(LOGGED)
    entries = []
    noise = np.random.default_rng(0).integers(-100, 150, GRID.size, dtype=np.int16)
    for case, (reference, prediction) in cases.items():
        image = save(folder / "scans" / f"{case}-ct.nrrd", noise)
        save(folder / "references" / f"{case}-seg.nrrd", reference)
        save(run / "predictions" / image.name, prediction)
        entries.append({"case": case, "image": str(image), "mask": image.name})
    (run / "predictions" / "manifest.json").write_text(json.dumps({"cases": entries}))
    evaluate_folders(
        run / "predictions", folder / "references", run / "evaluation",
        config={"reference_kind": "binary"}, reference_kind="binary", min_overlap=0.25,
    )  # fmt: skip
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(
        tmp_path_factory.mktemp("one"),
        {
            "good": (LARGE | SMALL, LARGE | SMALL),
            EVIL: (LARGE | SMALL, LARGE | FALSE),
            "empty": (0 * LARGE, 0 * LARGE),
        },
    )


def report(*arguments: str) -> int:
    """Runs the command in this process and gives its exit code."""
    with pytest.raises(SystemExit) as stop:
        main(list(arguments))
    assert isinstance(stop.value.code, int)
    return stop.value.code


def test_the_page_is_whole_and_needs_nothing_beside_it(run: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "page.html"
    assert report(f"run={run}", f"output={output}") == 0
    html = output.read_text(encoding="utf-8")
    page = Page(html)
    # Two plots and a picture for each case; everything is inside.
    assert len(page.sources()) == 5
    assert all(source.startswith("data:image/") for source in page.sources())
    for _, attributes in page.tags:
        for key in ("src", "href", "srcset", "action"):
            assert (attributes.get(key) or "#").startswith(("data:", "#"))
    assert not re.search(r"@import|url\(|https?://", html)
    for expected in ("Dice coefficient", "Never annotated", "python -m lnq.train +experiment=dbdmp",
                     "abc1234", "Nodes found by size", "3 of 4"):  # fmt: skip
        assert expected in page.text


def test_names_from_files_stay_text(run: Path, tmp_path: Path) -> None:
    output = tmp_path / "page.html"
    assert report(f"run={run}", f"output={output}") == 0
    page = Page(output.read_text(encoding="utf-8"))
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on")]
    assert EVIL in page.text
    assert f"Outlines on {EVIL}" in [a.get("alt") for tag, a in page.tags if tag == "img"]


def test_runs_stand_side_by_side(run: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path, {"good": (LARGE | SMALL, LARGE), "more": (SMALL, 0 * SMALL)})
    assert report(f"run=[{run},{other}]", f"paths.outputs={tmp_path}") == 0
    page = Page((tmp_path / "report" / "report.html").read_text(encoding="utf-8"))
    assert "Comparison of 2 runs" in page.text
    runs = read_runs([run, other])
    assert len({r.name for r in runs}) == 2
    summary = {row["name"]: row["cells"] for row in summary_rows(runs)}
    assert summary["Nodes found"] == [("75 %", "3 of 4"), ("33 %", "1 of 3")]
    assert summary["Cases without prediction"] == [("0", ""), ("1", "")]
    rows = {row["case"]: row["runs"] for row in case_rows(runs)}
    assert rows["good"][0][0] == ("1.0", "1.000")
    assert rows["good"][1][-1] == ("0.5", "1 of 2")
    assert rows["more"][0] == [("", "–")] * 6
    view = view_case("good", runs)
    assert "largest missed node (no. 2" in view.place
    assert [bool(p.source) for p in view.pictures] == [True, True]
    assert [bool(p.source) for p in view_case("more", runs).pictures] == [False, True]


def test_the_largest_error_comes_first_and_the_limit_holds(run: Path, tmp_path: Path) -> None:
    assert worst_cases(read_runs([run])) == [EVIL, "good", "empty"]
    output = tmp_path / "page.html"
    assert report(f"run={run}", f"output={output}", "max_cases=1") == 0
    headings = re.findall(r"<article>\s*<h3>(.*?)</h3>", output.read_text(encoding="utf-8"))
    assert len(headings) == 1
    assert headings[0].startswith("&lt;script&gt;")


def test_missing_parts_are_said(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "manifest.json").write_text((run / "manifest.json").read_text())
    assert report(f"run={bare}") == 0
    told = capsys.readouterr().out
    page = Page((bare / "report.html").read_text(encoding="utf-8"))
    for part in ("no config.yaml", "no metrics.csv", "no evaluation yet"):
        assert part in told
        assert part in page.text
    assert page.sources() == []


@pytest.mark.parametrize("content", ["", "a,b\n1,2,3\n4", "epoch,step\n", "\0\0"])
def test_unreadable_curves_are_said(run: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text((run / "manifest.json").read_text())
    (tmp_path / "metrics.csv").write_text(content)
    (read,) = read_runs([tmp_path])
    assert read.curves is None
    assert any("curves" in note for note in read.notes)


def test_a_case_whose_files_are_gone_keeps_its_place(tmp_path: Path) -> None:
    folder = make_run(tmp_path, {"a": (LARGE, LARGE), "b": (LARGE, SMALL)})
    (tmp_path / "scans" / "a-ct.nrrd").unlink()
    save(tmp_path / "references" / "b-seg.nrrd", LARGE | SMALL)
    pictures = [view_case(case, read_runs([folder])).pictures[0] for case in ("a", "b")]
    assert [p.source for p in pictures] == [None, None]
    assert "a-ct.nrrd" in pictures[0].caption
    assert "changed since it was evaluated" in pictures[1].caption


@pytest.fixture
def wrong_folders(run: Path, tmp_path: Path) -> dict[str, Path]:
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "manifest.json").write_text("{")
    return {"evaluation": run / "evaluation", "nowhere": tmp_path / "x", "broken": broken,
            "empty": tmp_path}  # fmt: skip


@pytest.mark.parametrize("which", ["evaluation", "nowhere", "broken", "empty"])
def test_a_folder_that_is_no_run_is_refused(
    wrong_folders: dict[str, Path], which: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report(f"run={wrong_folders[which]}") == 2
    assert "this is no run" in capsys.readouterr().err
    assert not (wrong_folders[which] / "report.html").exists()


def test_an_evaluation_elsewhere_is_used_or_refused(run: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "manifest.json").write_text((run / "manifest.json").read_text())
    (read,) = read_runs([bare], [run / "evaluation"])
    assert read.evaluation is not None
    assert len(read.evaluation.metrics) == 3
    assert report(f"run={bare}", f"evaluation={tmp_path}") == 2
    assert report(f"run={bare}", f"evaluation=[{run / 'evaluation'},{bare}]") == 2


def test_curves_belong_to_their_epochs(run: Path) -> None:
    (read,) = read_runs([run])
    assert read.curves is not None
    assert logged_values(read.curves, "train/loss", "epoch").to_dict() == {0: 4.0, 1: 2.0}
    assert logged_values(read.curves, "lr-SGD", "epoch").to_dict() == {0: 0.01, 1: 0.005}
    assert (training_curves([read]) or "").startswith("data:image/svg+xml;base64,")


def test_pictures_never_make_the_page_too_large(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (whole,) = read_runs([run])
    size = len(view_case(EVIL, [whole]).pictures[0].source or "")
    monkeypatch.setattr("lnq.reporting.cases.PICTURE_BUDGET", size)
    views, left_out = view_cases([whole], max_cases=3)
    assert ([view.case for view in views], left_out) == ([EVIL], 2)
    notes = write_report([whole], tmp_path / "page.html", max_cases=3)
    assert notes == ["2 cases have no pictures, to keep this page small."]


def test_real_scan_makes_a_small_page(real_data: Path, tmp_path: Path) -> None:
    label = sitk.ReadImage(real_data / "4d-lung-P113" / "labels_tumor1_ln2_bin3x3x1.nii.gz")
    nodes = sitk.Cast(label == 2, sitk.sitkUInt8)
    folder = tmp_path / "run"
    for place in ("references", "run/predictions"):
        (tmp_path / place).mkdir(parents=True)
    sitk.WriteImage(nodes, tmp_path / "references" / "p113.nii.gz")
    sitk.WriteImage(sitk.BinaryDilate(nodes, (1, 1, 0)), folder / "predictions" / "p113.nii.gz")
    image = str(real_data / "4d-lung-P113" / "ct_bin3x3x1.nii.gz")
    entry = {"case": "p113", "image": image, "mask": "p113.nii.gz"}
    (folder / "predictions" / "manifest.json").write_text(json.dumps({"cases": [entry]}))
    (folder / "manifest.json").write_text(json.dumps({"stage": "train", "command": ["train.py"]}))
    evaluate_folders(
        folder / "predictions", tmp_path / "references", folder / "evaluation",
        config={"reference_kind": "binary"}, reference_kind="binary", min_overlap=0.25,
    )  # fmt: skip
    assert report(f"run={folder}") == 0
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert html.count("data:image/webp") == 1
    assert len(html) < 1_000_000
    assert "3 of 3 nodes found" in html
