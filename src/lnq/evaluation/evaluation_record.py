"""An evaluation's folder: who writes its files reads them.

`metrics.csv` holds a row a case, `reference_nodes.csv` a row a node of the references,
`summary.json` what they say together, `froc.csv` a curve where one is known, `thresholds.csv` other
cuts where they were asked for. The manifest, written last, holds the hash of each: tables that are
not the ones it was written for are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from lnq.errors import LnqError, UsageError
from lnq.evaluation.measures import PER_CASE
from lnq.evaluation.nodes import ReferenceKind
from lnq.evaluation.summary import Summary
from lnq.files import (
    FAILURES,
    MANIFEST,
    FailureLog,
    read_json,
    sha256,
    write_json,
    write_manifest,
)
from lnq.predictions import Threshold
from lnq.run_folder import MeasuredFolder
from lnq.tables import read_table, write_table

METRICS, NODES, SUMMARY = "metrics.csv", "reference_nodes.csv", "summary.json"
FROC, THRESHOLDS = "froc.csv", "thresholds.csv"
"""Tables that not every evaluation has."""
_MAY_LACK = [measure.column for measure in PER_CASE]


@dataclass(frozen=True)
class Hashes:
    """What the files of a case held; None where there was no annotation."""

    reference: str
    prediction: str
    annotation: str | None = None


@dataclass(frozen=True)
class CaseFiles:
    """Where the files of one evaluated case lie, and what was in them.

    Attributes:
        case: Id of the case.
        reference: The reference label.
        prediction: The mask under test.
        annotation: The partial label used in training, if one was given.
        sha256: Hashes of these files' content.
    """

    case: str
    reference: Path
    prediction: Path
    annotation: Path | None
    sha256: Hashes


@dataclass(frozen=True)
class EvaluationFacts:
    """What an evaluation's manifest says beside where it came from.

    Attributes:
        predictions: Folder of the masks under test.
        references: Folder of the references.
        annotations: Folder of the partial labels used in training, if it was given.
        reference_kind: Whether the references are binary or number their nodes.
        min_overlap: Share of a node's voxels that makes it detected.
        notes: What the user should know and what is no failure.
        cases: The evaluated cases.
        tables_sha256: Of each table by its file's name.
        threshold: Where the masks were cut, as far as their manifest says so.
    """

    predictions: Path
    references: Path
    annotations: Path | None
    reference_kind: ReferenceKind
    min_overlap: float
    notes: list[str]
    cases: list[CaseFiles]
    tables_sha256: dict[str, str]
    threshold: Threshold | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain types, for JSON."""
        plain: dict[str, Any] = _FACTS.dump_python(self, mode="json")
        return plain

    @classmethod
    def from_dict(cls, values: Any) -> EvaluationFacts:
        """The inverse of `to_dict`; more keys are left alone.

        Raises:
            ValueError: Something is missing or of another type.
        """
        return _FACTS.validate_python(values)


_FACTS = TypeAdapter(EvaluationFacts)


@dataclass(frozen=True)
class EvaluationRecord:
    """An evaluation's output folder, read.

    Attributes:
        folder: The folder.
        manifest: Content of `manifest.json`.
        facts: What that says of the evaluation.
        summary: Content of `summary.json`.
        metrics: Content of `metrics.csv`, indexed by case; see
            `lnq.evaluation.case_metrics.CaseMetrics`.
        nodes: Content of `reference_nodes.csv`; see `lnq.evaluation.nodes.ReferenceNode`. `case` is
            text, `annotated` a nullable boolean.
        failures: Content of `failures.json`; empty where there is none.
        froc: Content of `froc.csv`, see `lnq.evaluation.froc.froc_curve`; None where there is none.
        thresholds: The same of `thresholds.csv`, `lnq.evaluation.other_thresholds`.
    """

    folder: Path
    manifest: dict[str, Any]
    facts: EvaluationFacts
    summary: Summary
    metrics: pd.DataFrame
    nodes: pd.DataFrame
    failures: list[dict[str, str | None]]
    froc: pd.DataFrame | None
    thresholds: pd.DataFrame | None

    @property
    def cases(self) -> dict[str, CaseFiles]:
        """Files by case."""
        return {files.case: files for files in self.facts.cases}


def write_evaluation(
    folder: Path,
    config: Mapping[str, Any],
    *,
    metrics: pd.DataFrame,
    nodes: pd.DataFrame,
    froc: pd.DataFrame | None,
    thresholds: pd.DataFrame | None,
    summary: Summary,
    failures: FailureLog,
    **facts: Any,
) -> int:
    """Writes an evaluation's files.

    Args:
        folder: Where to.
        config: The resolved configuration, for the manifest.
        metrics: From `metrics_table`.
        nodes: From `nodes_table`.
        froc: From `froc_curve`.
        thresholds: From `thresholds_table`.
        summary: From `summarise`.
        failures: The cases that could not be evaluated.
        **facts: Those of `EvaluationFacts` but the hashes.

    Returns:
        0, or 3 where a case failed.
    """
    write_table(folder / METRICS, metrics)
    write_table(folder / NODES, nodes)
    write_json(folder / SUMMARY, summary.to_dict())
    exit_code = failures.write(folder)
    names = [METRICS, NODES, SUMMARY]
    for name, table in ((FROC, froc), (THRESHOLDS, thresholds)):
        if table is None:
            (folder / name).unlink(missing_ok=True)
        else:
            write_table(folder / name, table)
            names.append(name)
    hashes = {name: sha256(folder / name) for name in names}
    known = EvaluationFacts(**facts, tables_sha256=hashes)
    write_manifest(folder, "evaluate", config, **known.to_dict())
    return exit_code


def evaluation_of(folder: Path) -> EvaluationRecord:
    """Reads an evaluation, given its own folder or the run's that holds it.

    Raises:
        UsageError: There is none, or it cannot be read.
    """
    place = folder if (folder / SUMMARY).is_file() else MeasuredFolder(folder).evaluation
    if not place.is_dir():
        raise UsageError(
            "there is no evaluation", where=folder,
            why="no such folder" if not folder.is_dir() else "nothing of lnq.evaluate lies in it",
            remedy="run the commands predict and evaluate first, or give the evaluation's folder",
        )  # fmt: skip
    return read_evaluation(place.resolve())


def read_evaluation(folder: Path) -> EvaluationRecord:
    """Reads an evaluation's output folder.

    Raises:
        UsageError: It is none, its files cannot be read, or they are not those that were written.
    """
    try:
        manifest = read_json(folder / MANIFEST)
        facts = EvaluationFacts.from_dict(manifest)
        _check_hashes(folder, facts.tables_sha256)
        return EvaluationRecord(
            folder, manifest, facts, Summary.from_dict(read_json(folder / SUMMARY)),
            read_table(folder / METRICS, _MAY_LACK).set_index("case"),
            read_table(folder / NODES, ["annotated"]).astype({"annotated": "boolean"}),
            read_json(folder / FAILURES) if (folder / FAILURES).is_file() else [],
            read_table(folder / FROC, []) if FROC in facts.tables_sha256 else None,
            read_table(folder / THRESHOLDS, []) if THRESHOLDS in facts.tables_sha256 else None,
        )  # fmt: skip
    except (LnqError, OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(
            "this is not a whole evaluation", where=folder, why=_in_short(error),
            remedy="run lnq.evaluate again",
        ) from error  # fmt: skip


def _check_hashes(folder: Path, expected: Mapping[str, str]) -> None:
    optional = [name for name in (FROC, THRESHOLDS) if name in expected]
    for name in (METRICS, NODES, SUMMARY, *optional):
        if sha256(folder / name) != expected.get(name):
            raise ValueError(f"{name} is not the one that the manifest was written for")


def _in_short(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    faults = [f"{'.'.join(map(str, f['loc']))}: {f['msg']}" for f in error.errors()[:3]]
    return f"its records are of an older lnq or damaged: {'; '.join(faults)}"
