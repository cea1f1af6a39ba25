"""nnU-Net's raw datasets, of its first and second version."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from lnq.data.case import Case, Split, Supervision
from lnq.data.datasets.checks import checked, existing_folder, shortened
from lnq.data.datasets.folds import FOLDS
from lnq.data.datasets.knowledge import Knowledge, Names, Supervised
from lnq.data.readers import SUFFIXES
from lnq.errors import LnqError, UsageError
from lnq.files import read_json

DATASET = "dataset.json"
SPLITS = "splits_final.json"
_CHANNEL = re.compile(r"(?P<id>.+)_(?P<channel>\d{4})", re.DOTALL)


class NnunetLayout:
    """`imagesTr/`, `labelsTr/`, `imagesTs/` and `dataset.json`, one channel and one class.

    Cases of `imagesTr/` are `train`, or as a fold of `splits_final.json` beside `dataset.json` says
    `train` or `val`; those of `imagesTs/` are `test`, fully annotated where `labelsTs/` has them.

    Args:
        root: A dataset's folder, `nnUNet_raw/Dataset001_NAME`.
        supervision: Of the labels in `labelsTr/`.
        fold: Which of the splits in `splits_final.json` holds.
        background: Folder of masks of what can be no node, one or a folder of them a case.
        background_names: Which structures of a folder count: a regular expression, or the names;
            None = `lnq.data.datasets.structures.NO_NODES`.
        supervised: Ids of cases that are annotated otherwise, by how: `full`, `partial`, `none`.
        allow_links_outside: Accept links to files outside `root`.
    """

    def __init__(
        self,
        root: Path,
        supervision: Literal["full", "partial"] = "partial",
        fold: Annotated[int, Field(ge=0)] = 0,
        background: Path | None = None,
        background_names: Names = None,
        supervised: Supervised | None = None,
        allow_links_outside: bool = False,
    ) -> None:
        self.root = Path(root)
        self.supervision: Supervision = supervision
        self.fold = fold
        self.knowledge = Knowledge(background, background_names, supervised or {})
        self.allow_links_outside = allow_links_outside

    def cases(self) -> list[Case]:
        """The dataset's cases, ordered by id.

        Raises:
            UsageError: `dataset.json` or folders are missing or contradict each other, the dataset
                has several channels or classes, a label has no scan, an id is unsafe or given
                twice, a link leads outside.
        """
        existing_folder(self.root, f"{DATASET} and imagesTr/")
        dataset = _dataset(self.root / DATASET)
        train = self._listed(dataset) or self._part("train", dataset)
        if dataset.num_training not in (None, len(train)):
            raise UsageError(
                f"{len(train)} training cases, {DATASET} promises {dataset.num_training}",
                where=self.root, remedy="copy the dataset again, or correct numTraining",
            )  # fmt: skip
        cases = [*self._split(train), *self._part("test", dataset)]
        listed = [dataset.told(case) for case in cases]
        return self.knowledge.added_to(checked(listed, self.root, self.allow_links_outside))

    def _listed(self, dataset: _Dataset) -> list[Case]:
        """The training cases, where `dataset.json` names the files of each."""
        cases = []
        for case_id, files in dataset.dataset.items():
            image, label = self.root / files.images[0], files.label and self.root / files.label
            supervision: Supervision = self.supervision if label else "none"
            cases.append(Case(case_id, image, label or None, "train", supervision, case_id))
        sources = (
            path for case in cases for path in (case.image, case.label) if isinstance(path, Path)
        )
        if missing := [str(path) for path in sources if not path.is_file()]:
            raise UsageError(
                f"files that {DATASET} names are missing", where=self.root,
                why=shortened(missing), remedy="copy them, or correct it",
            )  # fmt: skip
        return cases

    def _part(self, split: Split, dataset: _Dataset) -> list[Case]:
        folder = self.root / ("imagesTr" if split == "train" else "imagesTs")
        beside = self.root / folder.name.replace("images", "labels")
        labels = _files(beside, dataset.ending)
        annotated: Supervision = self.supervision if split == "train" else "full"
        cases = []
        for stem, image in _files(folder, dataset.ending).items():
            case_id = dataset.case_id(stem, image, labels)
            label = labels.get(case_id)
            supervision: Supervision = annotated if label else "none"
            cases.append(Case(case_id, image, label, split, supervision, group=case_id))
        ids = {case.case_id for case in cases}
        if alone := [str(path) for case_id, path in labels.items() if case_id not in ids]:
            raise UsageError(
                "labels without a scan", where=folder, why=shortened(alone),
                remedy="add the scans or move the labels away",
            )  # fmt: skip
        return cases

    def _split(self, cases: list[Case]) -> list[Case]:
        """The cases of `imagesTr/`, split as the fold says, where there is one."""
        path = self.root / SPLITS
        if not path.is_file():
            return cases
        content = _json(path)
        try:
            fold = FOLDS.validate_python(content)[self.fold]
        except (IndexError, ValidationError) as error:
            raise UsageError(
                f"{SPLITS} has no fold {self.fold} with train and val", where=path,
                why=_first_fault(error) if isinstance(error, ValidationError) else None,
                remedy="correct it, or choose another one with data.layout.fold=N",
            ) from error  # fmt: skip
        parts: dict[Split, list[str]] = {"train": fold.train, "val": fold.val}
        known = {case.case_id: case for case in cases}
        listed = [case_id for part in parts.values() for case_id in part]
        wrong = [f"{i} is twice in it" for i in known if listed.count(i) > 1]
        wrong += [f"{i} is not in it" for i in known if i not in listed]
        wrong += [f"{i} is not in imagesTr" for i in listed if i not in known]
        if wrong:
            raise UsageError(
                f"{SPLITS} does not fit imagesTr", where=path, why=shortened(wrong),
                remedy="correct it, or take it away",
            )  # fmt: skip
        return [replace(known[i], split=split) for split, part in parts.items() for i in part]


@dataclass(frozen=True)
class Told:
    """What an export of ours says of a case and nnU-Net has no place for."""

    split: Split
    supervision: Supervision
    group: str


@dataclass(frozen=True)
class _Files:
    images: list[str]
    label: str | None = None


class _Dataset(BaseModel):
    """`dataset.json`.

    The first version (`modality`), as the Decathlon whose form it took, lists its files, and its
    images may lack the channel's number, in the list or on the disk.
    """

    channel_names: dict[str, Any] | None = None
    modality: dict[str, Any] | None = None
    labels: dict[str, Any]
    num_training: int | None = Field(default=None, alias="numTraining")
    ending: str = Field(default=".nii.gz", alias="file_ending")
    training: list[str | dict[str, str]] = []
    test: list[str | dict[str, str]] = []
    dataset: dict[str, _Files] = {}
    lnq_cases: dict[str, Told] = {}

    def fault(self) -> str | None:
        """Why it is no dataset of one channel and one class, or None."""
        channels = self.modality if self.channel_names is None else self.channel_names
        numbers = self.labels if self.channel_names is None else self.labels.values()
        if len(channels or {}) != 1:
            return f"it has {len(channels or {})} channels, not one"
        if sorted(map(str, numbers)) != ["0", "1"]:
            return f"its labels are {self.labels}, not background 0 and one class 1"
        if self.ending not in SUFFIXES:
            return f"files that end in {self.ending!r} are not read; use {', '.join(SUFFIXES)}"
        several = [case_id for case_id, files in self.dataset.items() if len(files.images) != 1]
        return f"these have not one image: {shortened(several)}" if several else None

    def case_id(self, stem: str, image: Path, labels: Mapping[str, Path]) -> str:
        """The case that an image file is of."""
        listed = (one if isinstance(one, str) else one.get("image", "")
                  for one in (*self.training, *self.test))  # fmt: skip
        first_version = self.channel_names is None
        match = _CHANNEL.fullmatch(stem)
        if first_version and (
            match is None or stem in labels or image.name in {Path(one).name for one in listed}
        ):
            return stem
        if match is None or match["channel"] != "0000":
            raise UsageError(
                "no image of a single channel", where=image,
                why=f"its name does not end in _0000{self.ending}", remedy="rename it",
            )  # fmt: skip
        return match["id"]

    def told(self, case: Case) -> Case:
        """The case with what an export of ours wrote of it beside nnU-Net's own keys."""
        told = self.lnq_cases.get(case.case_id)
        if told is None:
            return case
        return replace(
            case,
            # What is in imagesTr/ is split by splits_final.json; scans without a label, of any
            # split, are in imagesTs/.
            split=told.split if case.split == "test" else case.split,
            supervision=told.supervision if case.label is not None else "none",
            group=told.group,
        )


def _dataset(path: Path) -> _Dataset:
    """`dataset.json`, if it describes scans of one channel and one class.

    Raises:
        UsageError: It is missing or damaged, or describes something else.
    """
    try:
        dataset = _Dataset.model_validate(_json(path))
        why = dataset.fault()
    except ValidationError as error:
        why = _first_fault(error)
    if why is not None:
        raise UsageError("not a dataset of one CT channel and one class", where=path, why=why,
                         remedy="export lymph nodes as the only class")  # fmt: skip
    return dataset


def _first_fault(error: ValidationError) -> str:
    first = error.errors()[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"


def _json(path: Path) -> Any:
    try:
        return read_json(path)
    except LnqError as error:
        raise UsageError(
            f"cannot read {path.name}", where=path, why=error.why,
            remedy="give data.root=DIR, nnU-Net's folder of one dataset",
        ) from error  # fmt: skip


def _files(folder: Path, ending: str) -> dict[str, Path]:
    """Visible files by their names without `ending`; none where the folder is missing."""
    if not folder.is_dir():
        return {}
    return {
        path.name.removesuffix(ending): path
        for path in sorted(folder.iterdir())
        if path.name.endswith(ending) and not path.name.startswith(".")
    }
