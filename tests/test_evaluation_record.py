"""An evaluation's files: read as they were written, refused where they are not."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from support.mutations import mutated
from support.report_runs import FALSE, LARGE, SMALL, make_run, report

from lnq import collect, compare, rank
from lnq.errors import UsageError
from lnq.evaluation import EvaluationRecord, Summary, read_evaluation
from lnq.evaluation.evaluation_record import METRICS, NODES, SUMMARY
from lnq.run_folder import RunFolder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cases = {"a": (LARGE | SMALL, LARGE | FALSE), "b": (SMALL, 0 * SMALL), "c": (LARGE, LARGE)}
    return make_run(tmp_path_factory.mktemp("made"), cases, annotated=LARGE)


@pytest.fixture
def folder(made: Path) -> RunFolder:
    """A run's folder; the test may damage its evaluation, which is put right again."""
    return RunFolder(made)


def told(record: EvaluationRecord) -> tuple[str, str, dict[str, object]]:
    """All that a record's tables say."""
    return record.metrics.to_csv(), record.nodes.to_csv(), asdict(record.summary)


def test_what_was_written_is_read(folder: RunFolder) -> None:
    record = read_evaluation(folder.evaluation)
    written = pd.read_csv(folder.evaluation / METRICS, index_col="case")
    assert_frame_equal(record.metrics, written)
    assert record.nodes["annotated"].tolist() == [True, False, False, True]
    assert list(record.cases) == ["a", "b", "c"]
    assert (record.facts.reference_kind, record.facts.min_overlap) == ("binary", 0.25)
    assert record.failures == []
    content = json.loads((folder.evaluation / SUMMARY).read_text())
    assert Summary.from_dict(content).to_dict() == content
    # What others read of it.
    assert content["cases"] == {
        "n": 3, "n_missing": 1, "n_empty_reference": 0, "n_both_empty": 0, "n_failed": 0,
    }  # fmt: skip
    assert list(content["metrics"]) == [
        "dice", "precision", "recall", "assd_mm", "assd_filled_mm", "hd95_mm", "nsd", "node_f1",
    ]  # fmt: skip
    assert list(content["metrics"]["dice"]) == [
        "mean", "sd", "median", "q25", "q75", "n", "n_undefined", "n_missing",
    ]  # fmt: skip
    assert list(content["nodes"]) == [
        "n", "n_detected", "detection_recall", "annotated", "never_annotated",
        "annotation_unknown", "by_short_axis_mm", "false_positives", "false_positives_per_case",
    ]  # fmt: skip
    assert list(content["nodes"]["never_annotated"])[3:] == ["voxel_recall"]
    assert list(content["nodes"]["by_short_axis_mm"][0])[:2] == ["from", "to"]


@pytest.mark.parametrize("name", [METRICS, NODES, SUMMARY])
def test_no_damaged_table_is_read(folder: RunFolder, name: str) -> None:
    file = folder.evaluation / name
    content, whole = file.read_bytes(), told(read_evaluation(folder.evaluation))
    try:
        for seed in range(120):
            file.write_bytes(mutated(content, np.random.default_rng(seed)))
            if file.read_bytes() == content:
                assert told(read_evaluation(folder.evaluation)) == whole
                continue
            with pytest.raises(UsageError, match=r"not a whole evaluation.*Run lnq.evaluate again"):
                read_evaluation(folder.evaluation)
    finally:
        file.write_bytes(content)


def test_a_damaged_manifest_is_no_traceback(folder: RunFolder) -> None:
    file = folder.evaluation / "manifest.json"
    content, whole = file.read_bytes(), told(read_evaluation(folder.evaluation))
    refused = 0
    try:
        for seed in range(120):
            file.write_bytes(mutated(content, np.random.default_rng(seed)))
            try:
                assert told(read_evaluation(folder.evaluation)) == whole
            except UsageError:
                refused += 1
    finally:
        file.write_bytes(content)
    assert refused > 60  # others hit what says where the evaluation came from


@pytest.mark.slow
def test_every_command_refuses_it(
    folder: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, at = folder.evaluation / METRICS, str(folder.path)
    other = make_run(tmp_path, {"a": (LARGE, LARGE)}, name="other")
    published = tmp_path / "published.csv"
    published.write_text("Case,Dice,ASSD,Team\n1,0.5,1,x\n")
    content = file.read_text()
    file.write_text(content.replace("0.", "0.1", 1))
    try:
        for main, arguments in (
            (compare.main, [f"runs=[{at},{other}]", f"output={tmp_path}/compare"]),
            (collect.main, [f"sweep={at}", f"output={tmp_path}/collect"]),
            (rank.main, [f"published={published}", f"evaluation={at}", f"output={tmp_path}/rank"]),
        ):
            with pytest.raises(SystemExit) as stop:
                main(arguments)
            said = capsys.readouterr().err
            assert stop.value.code == 2, said
            assert f"{METRICS} is not the one that the manifest was written for" in said
        assert report(f"run={at}", f"output={tmp_path}/report.html") == 0
        assert "The evaluation cannot be read" in capsys.readouterr().out
    finally:
        file.write_text(content)


def test_an_older_evaluation_is_refused_with_the_remedy(folder: RunFolder) -> None:
    file = folder.evaluation / "manifest.json"
    content = file.read_text()
    older = json.loads(content)
    del older["tables_sha256"], older["reference_kind"]
    file.write_text(json.dumps(older))
    try:
        with pytest.raises(UsageError) as refused:
            read_evaluation(folder.evaluation)
    finally:
        file.write_text(content)
    for part in ("an older lnq", "tables_sha256", "reference_kind", "Run lnq.evaluate again"):
        assert part in str(refused.value)
