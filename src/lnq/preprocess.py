"""python -m lnq.preprocess data.root=DIR: prepares a dataset for training."""

from __future__ import annotations

from lnq.config.help import answer_help

if __name__ == "__main__":
    answer_help("preprocess")  # before the imports below, which take seconds

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from rich.console import Console
from rich.progress import track

from lnq.config import DataConfig, Paths, command, instantiate
from lnq.config.layout_choice import with_layout
from lnq.console import console, told_when_interrupted
from lnq.data.case import Case
from lnq.data.datasets import listed
from lnq.data.datasets.checks import shortened
from lnq.data.datasets.faults import copied_labels, duplicates
from lnq.data.datasets.patients import (
    check_patients,
    earlier_split,
    split_changes,
    split_hash,
    split_table,
)
from lnq.data.preparation.preprocessing import Preprocessing
from lnq.data.readers.left_out import summary
from lnq.data.store.building import Outcome, build_store, failed
from lnq.data.store.case_store import CaseStore
from lnq.errors import UsageError
from lnq.files import FAILURES, FailureLog, sole_user, write_manifest

_GO_ON = "to go on, give the same command again: cases that are done stay"


@dataclass(frozen=True)
class PreprocessConfig:
    """Root of conf/preprocess.yaml.

    Attributes:
        data: The dataset: its name and its layout.
        preprocessing: Settings of `lnq.data.preparation.preprocessing.Preprocessing`.
        checkpoint: Run folder or checkpoint file whose settings are taken instead, the authors'
            `.pth` included; None = those above.
        output: Folder of the preprocessed cases.
        num_workers: Processes; 0 = none beside this one.
        paths: Where everything goes.
    """

    data: DataConfig
    preprocessing: dict[str, Any]
    checkpoint: Path | None
    output: Path
    num_workers: Annotated[int, Field(ge=0)]
    paths: Paths


@command("preprocess", PreprocessConfig, prepare=with_layout)
def main(cfg: PreprocessConfig) -> int:
    """Preprocesses what is not done yet; a bad case is listed at the end and the others go on."""
    out = console()
    cases = listed(instantiate(cfg.data.layout or {}))
    check_patients(cases, cfg.data.root)
    if line := summary(cfg.data.root):
        out.print(line)
    preprocessing = _settings(cfg, out)
    with sole_user(cfg.output):
        facts = {
            "settings": preprocessing.as_dict(),
            "cases": [case.case_id for case in cases],
            **_split(cases, cfg.output, out),
        }
        write_manifest(cfg.output, "preprocess", asdict(cfg), **facts)
        outcomes = {}
        quiet = not out.is_terminal
        with told_when_interrupted(_GO_ON):
            work = build_store(cases, cfg.output, cfg.num_workers)
            for outcome in track(work, "preprocess", len(cases), console=out, disable=quiet):
                outcomes[outcome.case_id] = outcome
                _tell(outcome, out)
        outcomes |= _compare(cases, outcomes, CaseStore(cfg.output), out)
        counts = _counts(list(outcomes.values()))
        write_manifest(cfg.output, "preprocess", asdict(cfg), **facts, counts=counts)
        failures = FailureLog()
        for outcome in outcomes.values():
            if outcome.error is not None:
                failures.add(outcome.case_id, outcome.error)
        code = failures.write(cfg.output)
    out.print(", ".join(f"{n} {name}" for name, n in counts.items() if n), f"-> {cfg.output}")
    if code:
        out.print(f"failed cases are listed in {cfg.output / FAILURES}")
    return code


def _split(cases: Sequence[Case], output: Path, out: Console) -> dict[str, Any]:
    """The split for the manifest; says where an earlier run's was another one."""
    table = split_table(cases)
    if changes := split_changes(earlier_split(output), table):
        out.print(
            f"warning: {len(changes)} cases are in another split than before: "
            f"{shortened(changes)}; a network trained before has seen the old one",
        )  # fmt: skip
    return {"split": table, "split_sha256": split_hash(table)}


def _settings(cfg: PreprocessConfig, out: Console) -> Preprocessing:
    """The configured settings, or those of a checkpoint's training data, but never a mixture."""
    configured: Preprocessing = instantiate(cfg.preprocessing)
    if cfg.checkpoint is None:
        return configured
    if configured != Preprocessing():
        raise UsageError(
            "the preprocessing is given twice", where=f"checkpoint={cfg.checkpoint}",
            why="with a checkpoint, its own settings are used: preprocessing.* must stay as it is",
            remedy="leave out checkpoint=... or preprocessing.*=...",
        )  # fmt: skip
    from lnq.networks.transfer import read_checkpoint  # torch: seconds, for whom there is one

    checkpoint = read_checkpoint(cfg.checkpoint)
    preprocessing = Preprocessing.from_dict(checkpoint.preprocessing, checkpoint.path)
    shown = ", ".join(f"{key}={value}" for key, value in preprocessing.as_dict().items())
    out.print(f"as for {cfg.checkpoint}: {shown}")
    return preprocessing


def _compare(
    cases: Sequence[Case], outcomes: Mapping[str, Outcome], store: CaseStore, out: Console
) -> dict[str, Outcome]:
    """Tells what is there twice; copies of a scan in two splits fail: their outcomes come back."""
    records = {name: one.record for name, one in outcomes.items() if one.record is not None}
    hashes = {name: record.voxel_sha256 for name, record in records.items()}
    masks = {name: one.mask_sha256 for name, one in records.items() if one.mask_sha256}
    leaks = {}
    for case_id, twin in duplicates(cases, hashes).items():
        if twin.is_leak:
            leaks[case_id] = failed(twin.case, twin.error(), store)
            _tell(leaks[case_id], out)
        else:
            out.print(f"{case_id}: warning: {twin.error()}")
    for case_id, told in copied_labels(cases, masks, hashes).items():
        out.print(f"{case_id}: warning: {told}")
    return leaks


def _tell(outcome: Outcome, out: Console) -> None:
    """Prints what a user should know of a case; nothing for one that went as usual."""
    if outcome.error is not None:
        line = f"failed: {outcome.error}"
    elif outcome.status == "rebuilt":
        line = f"warning: rebuilt, {outcome.reason}"
    elif outcome.status == "built" and outcome.record is not None and outcome.record.notes:
        line = f"note: {'; '.join(outcome.record.notes)}"
    else:
        return
    out.print(f"{outcome.case_id}: {line}")


def _counts(outcomes: Sequence[Outcome]) -> dict[str, int]:
    states = Counter(outcome.status for outcome in outcomes)
    records = [outcome.record for outcome in outcomes if outcome.record is not None]
    return {
        **{state: states[state] for state in ("built", "kept", "rebuilt", "failed")},
        "without lungs": sum(not record.lungs_found for record in records),
        "with an empty label": sum(
            record.label is not None and record.num_foreground == 0 for record in records
        ),
    }


if __name__ == "__main__":
    main()
