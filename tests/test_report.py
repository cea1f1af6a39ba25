"""The report: whole, self-contained, honest about what is missing, safe with any name."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from support.report_page import Page
from support.report_runs import EVIL, LARGE, SMALL, example_run, make_run, report, save

from lnq.errors import UsageError
from lnq.losses.pseudo import PseudoTerm
from lnq.losses.supervised import SUPERVISED_TERMS
from lnq.reporting import page as page_module
from lnq.reporting import read_runs, summary_rows, write_report
from lnq.reporting.case_table import case_table, worst_cases
from lnq.reporting.curve_plots import logged_values, pseudo_label_curves, training_curves
from lnq.reporting.history import histories
from lnq.reporting.nodes_found import found_by_annotation
from lnq.reporting.summary_table import NONE, tiles


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return example_run(tmp_path_factory.mktemp("one"))


@pytest.mark.slow
def test_the_page_is_whole_and_needs_nothing_beside_it(run: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "page.html"
    assert report(f"run={run}", f"output={output}") == 0
    page = Page(output)
    assert page.pictures()
    for _, attributes in page.tags:
        for key in ("src", "href", "xlink:href", "srcset", "action"):
            assert (attributes.get(key) or "#").startswith(("data:image/", "#"))
    assert not re.search(r"@import|url\((?!#)|https?://", page.html)
    ids = [a["id"] for tag, a in page.tags if "id" in a and tag not in ("path", "clippath")]
    assert len(ids) == len(set(ids))
    for expected in ("Dice coefficient", "Never annotated", "python -m lnq.train +experiment=dbdmp",
                     "python -m lnq.report run=", "abc1234", "3 of 4",
                     "Nodes found, by size and by false positives",
                     "the reference has no node",
                     "nothing was predicted"):  # fmt: skip
        assert expected in page.text


@pytest.mark.slow
def test_names_from_files_stay_text(run: Path, tmp_path: Path) -> None:
    output = tmp_path / "page.html"
    assert report(f"run={run}", f"output={output}") == 0
    page = Page(output)
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert not [key for _, attributes in page.tags for key in attributes if key.startswith("on")]
    assert page.text.count(EVIL) >= 7  # the table, the pictures, a tooltip in each distribution
    assert f"Slices of {EVIL}" in [a.get("aria-label") for _, a in page.tags]


@pytest.mark.slow
def test_runs_stand_side_by_side(run: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path, {"good": (LARGE | SMALL, LARGE), "more": (SMALL, 0 * SMALL)})
    assert report(f"run=[{run},{other}]", f"paths.outputs={tmp_path}") == 0
    page = Page(tmp_path / "report" / "report.html")
    assert "Comparison of 2 runs" in page.text
    runs = read_runs([run, other])
    assert len({r.name for r in runs}) == 2
    summary = {row.name: row.cells for row in summary_rows(runs)}
    assert summary["Nodes found"] == [("75 %", "3 of 4"), ("33 %", "1 of 3")]
    assert summary["Cases without prediction"] == [("0", ""), ("1", "")]
    assert summary["Nodes found, never annotated"] == [("50 %", "1 of 2"), ("–", "none known")]
    rows = dict(case_table(runs).rows)
    assert rows["good"][0][0] == ("1.0", "1.000")
    assert rows["good"][1][-1] == ("0.5", "1 of 2")
    assert rows["more"][0] == [("", "–")] * 9
    assert case_table(runs).columns == [
        "DSC", "ASSD, mm", "HD95, mm", "NSD at 2 mm", "Precision", "Recall", "F1 of nodes",
        "False pos.", "Nodes",
    ]  # fmt: skip
    # "good" has one scan in both runs, by its content as by its name it need not.
    assert "other scans in other runs" in page.text


@pytest.mark.slow
def test_the_largest_error_comes_first_and_the_limit_holds(run: Path, tmp_path: Path) -> None:
    assert worst_cases(read_runs([run])) == [EVIL, "good", "empty"]
    output = tmp_path / "page.html"
    assert report(f"run={run}", f"output={output}", "max_cases=1") == 0
    headings = re.findall(r"<article[^>]*>\s*<h3>(.*?)</h3>", output.read_text(encoding="utf-8"))
    assert len(headings) == 1
    assert headings[0].startswith("&lt;script&gt;")


@pytest.mark.slow
def test_failed_cases_are_listed(tmp_path: Path) -> None:
    folder = make_run(tmp_path, {"a": (LARGE, LARGE)})
    failure = {"case": "b<", "what": "no prediction", "where": None, "why": "it failed",
               "remedy": None}  # fmt: skip
    (folder / "evaluation" / "failures.json").write_text(json.dumps([failure]))
    assert report(f"run={folder}") == 0
    page = Page(folder / "report.html")
    assert "Cases that could not be evaluated" in page.text
    assert "b<: no prediction, it failed" in page.text


@pytest.mark.slow
def test_the_history_of_pseudo_labels_is_shown(run: Path, tmp_path: Path) -> None:
    folder = make_run(tmp_path, {"a": (LARGE, LARGE)})
    (folder / "panels").mkdir()
    for epoch in (2, 10, 30):
        Image.new("RGB", (40, 20), (epoch, 0, 0)).save(folder / "panels" / f"epoch={epoch}.png")
    (folder / "panels" / "epoch=40.png").write_bytes(b"\x89PNG\r\n\x1a\n half")
    assert report(f"run={folder}") == 0
    page = Page(folder / "report.html")
    alts = [a["alt"] for tag, a in page.tags if tag == "img"]
    assert alts == [f"Pseudo labels, epoch {n}" for n in (2, 10, 30)]
    assert "3 of 4 pictures; not readable: epoch=40.png" in page.text


@pytest.mark.slow
def test_the_history_keeps_to_its_room(run: Path, tmp_path: Path) -> None:
    folder = make_run(tmp_path, {"a": (LARGE, LARGE)})
    (folder / "panels").mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (60, 700, 3), dtype=np.uint8)
    for epoch in range(10):
        Image.fromarray(noise).save(folder / "panels" / f"epoch={epoch}.png")
    runs = read_runs([folder])
    (whole,) = histories(runs, 10_000_000)
    assert len(whole.frames) == 10
    (part,) = histories(runs, sum(len(source) for _, source in whole.frames) - 1)
    assert [name for name, _ in part.frames][:: len(part.frames) - 1] == ["epoch 0", "epoch 9"]
    assert part.words == "8 of 10 pictures"
    assert histories(runs, 10)[0].frames == []


def test_training_scans_tell_annotated_from_hidden_nodes(run: Path, tmp_path: Path) -> None:
    """The run's evaluation knows of no annotation; that of its training scans does."""
    folder = make_run(tmp_path, {"a": (LARGE | SMALL, LARGE | SMALL)})
    (bare,) = read_runs([folder])
    assert found_by_annotation([bare]) == []
    (folder / "training").mkdir()
    shutil.copytree(run / "evaluation", folder / "training" / "evaluation")
    (both,) = read_runs([folder])
    summary = {row.name: row.cells[0] for row in summary_rows([both])}
    assert summary["Nodes found"] == ("100 %", "2 of 2")
    assert summary["Nodes found, never annotated"] == ("50 %", "1 of 2")
    shares, voxels = (plot.svg for plot in found_by_annotation([both]))
    assert "2/2" in shares
    assert "1/2" in shares
    assert "50 %</text>" in voxels


def test_curves_belong_to_their_epochs(run: Path) -> None:
    (read,) = read_runs([run])
    assert read.curves is not None
    assert logged_values(read.curves, "train/loss", "epoch").to_dict() == {0: 4.0, 1: 2.0}
    assert logged_values(read.curves, "train/lr", "epoch").to_dict() == {0: 0.01, 1: 0.005}
    assert logged_values(read.curves, "cpu_percent", "epoch").to_dict() == {0: 80, 1: 90}
    titles = [plot.title for plot in training_curves([read])]
    assert titles == ["Validation DSC", "Loss", "Learning rate", "cpu_percent"]


@pytest.mark.slow
def test_every_term_of_the_loss_has_a_title(run: Path) -> None:
    terms = [f"train/{term}" for term in SUPERVISED_TERMS]
    terms += [f"train/pseudo_{term}" for term in get_args(PseudoTerm)]
    curves = pd.DataFrame([[0, 0, *range(len(terms))]], columns=["epoch", "step", *terms])
    read = [replace(one, curves=curves) for one in read_runs([run])]
    plots = [*training_curves(read), *pseudo_label_curves(read)]
    assert len({plot.title for plot in plots}) == len(terms)
    assert not any(plot.title.startswith("train/") for plot in plots)


def test_long_trainings_do_not_fill_the_page(run: Path, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text((run / "manifest.json").read_text())
    losses = np.random.default_rng(0).random(30_000)
    rows = [f"{epoch},{epoch},{loss:.4f}" for epoch, loss in enumerate(losses)]
    (tmp_path / "curves.csv").write_text("\n".join(["epoch,step,train/loss", *rows]))
    (plot,) = training_curves(read_runs([tmp_path]) * 8)
    assert 20_000 < len(plot.svg) < 200_000


@pytest.mark.slow
def test_the_page_is_never_too_large(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Scans of noise compress badly: fewer slices first, then none, and never more than allowed."""
    runs = read_runs([run])
    plots = page_module._content(runs, case_table(runs))
    monkeypatch.setattr(page_module, "_content", lambda *_: plots)  # drawn once
    output = tmp_path / "page.html"
    write_report(runs, output, max_cases=0)
    bare = output.stat().st_size
    write_report(runs, output, max_cases=3)
    for part in (0.9, 0.4, 0.02):
        limit = bare + int(part * (output.stat().st_size - bare))
        monkeypatch.setattr(page_module, "MAX_BYTES", limit)
        write_report(runs, tmp_path / "small.html", max_cases=3)
        page = Page(tmp_path / "small.html")
        assert bare <= (tmp_path / "small.html").stat().st_size <= limit
        assert bool(page.pictures()) == (part > 0.1)
    assert "the page would become too large" in page.text
    monkeypatch.setattr(page_module, "MAX_BYTES", bare - 2000)
    with pytest.raises(UsageError, match="too large"):
        write_report(runs, output, max_cases=3)


def test_a_long_table_keeps_the_largest_errors(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lnq.reporting.case_table.MAX_CELLS", 18)
    table = case_table(read_runs([run]))
    assert ([case for case, _ in table.rows], table.left_out) == ([EVIL, "good"], 1)


@pytest.mark.slow
def test_a_case_whose_files_are_gone_keeps_its_place(tmp_path: Path) -> None:
    folder = make_run(tmp_path, {"a": (LARGE, LARGE), "b": (LARGE, SMALL)})
    (tmp_path / "scans" / "a-ct.nrrd").unlink()
    save(tmp_path / "references" / "b-seg.nrrd", np.asarray(LARGE | SMALL))
    assert report(f"run={folder}") == 0
    page = Page(folder / "report.html")
    assert re.search(r"No picture: .*a-ct\.nrrd", page.text)
    assert "changed since it was evaluated" in page.text


def test_a_curve_stands_once_under_all_its_names(run: Path) -> None:
    values = {"train/loss": [1.0, 0.5], "train/loss_sup": [1.0, 0.5], "train/ce": [1.0, 0.6]}
    curves = pd.DataFrame({"epoch": [0, 1], "step": [0, 1], **values})
    (plain,) = (replace(one, curves=curves) for one in read_runs([run]))
    told = {plot.title: plot.note for plot in training_curves([plain])}
    assert told == {"Loss": "The same: Supervised term", "Cross-entropy": ""}
    other = replace(plain, curves=curves.assign(**{"train/loss": [2.0, 0.5]}))
    assert len(training_curves([plain, other])) == 3  # in one run they differ


@pytest.mark.slow
def test_cases_and_pictures_come_before_curves(run: Path, tmp_path: Path) -> None:
    write_report(read_runs([run]), tmp_path / "report.html", max_cases=3)
    page = (tmp_path / "report.html").read_text()
    order = [
        page.index(f'<h2 id="{part}">') for part in ("summary", "cases", "pictures", "training")
    ]
    assert order == sorted(order)


def test_what_is_not_known_of_any_run_has_no_row(run: Path) -> None:
    runs = read_runs([run])
    assert all(any(value != NONE for value, _ in row.cells) for row in summary_rows(runs))
    assert all(value != NONE for _, value, _ in tiles(runs[0]))


@pytest.mark.slow
def test_phantoms_are_named_in_title_and_pictures(run: Path, tmp_path: Path) -> None:
    made = make_run(tmp_path, {"phantom-test-0001": (LARGE, LARGE)}, name="drawn")
    for one, expected in ((run, False), (made, True)):
        write_report(read_runs([one]), tmp_path / "report.html", max_cases=3)
        page = (tmp_path / "report.html").read_text()
        assert (", phantom</title>" in page) is expected
        assert (">phantom</text>" in page) is expected
