"""python -m lnq.export format=nnunet data.root=DIR output=DIR: a dataset for another program."""

from __future__ import annotations

from lnq.config.help import answer_help

if __name__ == "__main__":
    answer_help("export")  # before the imports below, which take seconds

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from rich.progress import track

from lnq.config import DataConfig, Paths, command, instantiate
from lnq.config.layout_choice import with_layout
from lnq.console import console, told_when_interrupted
from lnq.data.case import Case
from lnq.data.datasets import listed
from lnq.data.datasets.nnunet_export import Ending, check_target, export_cases, finish
from lnq.data.datasets.patients import check_patients, split_hash, split_table
from lnq.files import FAILURES, FailureLog, sole_user, write_manifest
from lnq.volume_file import write_volume

_GO_ON = "to go on, give the same command again: cases that are done stay"


@dataclass(frozen=True)
class ExportConfig:
    """Root of conf/export.yaml.

    Attributes:
        data: The dataset: its name and its layout.
        format: Of the export.
        output: Folder in which the dataset's folder is made, `nnUNet_raw`.
        dataset_id: Number of nnU-Net's dataset.
        dataset_name: Its name.
        file_ending: Format of all files.
        instances: Also write each label with a number for each node, as references of `evaluate`.
        folds: How many of a cross-validation by patient `splits_final.json` lists; None = train and
            val as they are.
        seed: Of the folds.
        paths: Where everything goes.
    """

    data: DataConfig
    format: Literal["nnunet"]
    output: Path
    dataset_id: Annotated[int, Field(ge=1, le=999)]
    dataset_name: Annotated[str, Field(pattern=r"^\w+$")]
    file_ending: Ending
    instances: bool
    folds: Annotated[int, Field(ge=2)] | None
    seed: Annotated[int, Field(ge=0)]
    paths: Paths


@command("export", ExportConfig, prepare=with_layout)
def main(cfg: ExportConfig) -> int:
    """Writes what is not done yet; a bad case is listed at the end and the others go on."""
    root = str(cfg.data.root and cfg.data.root.resolve())
    cases = listed(instantiate(cfg.data.layout or {}))
    check_patients(cases, root)
    folder = cfg.output / f"Dataset{cfg.dataset_id:03d}_{cfg.dataset_name}"
    check_target(folder, root)
    facts = {"root": root, "split_sha256": split_hash(split_table(cases))}
    out = console()
    failures, done, states = FailureLog(), list[Case](), Counter[str]()
    with sole_user(folder):
        write_manifest(folder, "export", asdict(cfg), **facts)
        quiet = not out.is_terminal
        with told_when_interrupted(_GO_ON):
            work = export_cases(cases, folder, cfg.file_ending, write_volume, cfg.instances)
            for one in track(work, "export", len(cases), console=out, disable=quiet):
                for note in one.notes:
                    out.print(f"{one.case.case_id}: note: {note}")
                if one.error is not None:
                    failures.add(one.case.case_id, one.error)
                    out.print(f"{one.case.case_id}: failed: {one.error}")
                    continue
                done.append(one.case)
                states["kept" if one.kept else "written"] += 1
        finish(done, folder, cfg.file_ending, cfg.folds, cfg.seed)
        write_manifest(folder, "export", asdict(cfg), **facts, cases=[c.case_id for c in done])
        code = failures.write(folder)
    out.print(", ".join(f"{n} {state}" for state, n in states.items()), f"-> {folder}")
    if code:
        out.print(f"failed cases are listed in {folder / FAILURES}")
    return code


if __name__ == "__main__":
    main()
