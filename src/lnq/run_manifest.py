"""The manifest of a training run: where it came from, and whether it came to its end."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, TypeAdapter, ValidationError

from lnq.errors import LnqError, UsageError
from lnq.files import read_json, sha256, write_json
from lnq.run_folder import RunFolder


class _Named(BaseModel):
    """What every reader relies on in a run's configuration."""

    name: str
    seed: int
    paths: dict[str, Any] = {}


def _named(config: dict[str, Any]) -> dict[str, Any]:
    _Named.model_validate(config)
    return config


@dataclass(frozen=True)
class RunManifest:
    """What is read of a run's manifest.

    What training recorded beside it (`lnq.networks.training_record.TrainingRecord`) is there for
    people; programs read it in the checkpoint.

    Attributes:
        config: The resolved configuration.
        command: The command line, the program's name first.
        created: When training began, ISO 8601.
        versions: Of Python and packages, by name.
        git_commit: Of the code, if it is known.
        finished: When training came to its end, ISO 8601; None where it has not.
        curves_sha256: Hash of the `curves.csv` that it left then, if it logged anything.
    """

    config: Annotated[dict[str, Any], AfterValidator(_named)]
    command: list[str] = field(default_factory=list)
    created: str | None = None
    versions: dict[str, str] = field(default_factory=dict)
    git_commit: str | None = None
    finished: str | None = None
    curves_sha256: str | None = None

    @property
    def experiment(self) -> str:
        """Name of the run's experiment."""
        return str(self.config["name"])

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return int(self.config["seed"])


_SCHEMA = TypeAdapter(RunManifest)


def read_manifest(run: RunFolder) -> RunManifest:
    """The manifest that training left.

    Raises:
        UsageError: There is none, or it is damaged.
    """
    try:
        return _SCHEMA.validate_python(read_json(run.manifest))
    except (LnqError, ValidationError) as error:
        faults = error.errors() if isinstance(error, ValidationError) else []
        why = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults]
        raise UsageError(
            "the run's manifest is damaged", where=run.manifest,
            why="; ".join(why) or str(error),
            remedy="put a copy in its place, or move the run's folder away",
        ) from error  # fmt: skip


def write_finished(run: RunFolder, begun: Mapping[str, Any]) -> None:
    """Notes in the manifest that training came to its end, and the hash of its curves.

    Args:
        run: The run.
        begun: The manifest as `lnq.files.write_manifest` wrote it when training began.
    """
    end = {"finished": datetime.now(UTC).isoformat(timespec="seconds")}
    if run.curves.is_file():
        end["curves_sha256"] = sha256(run.curves)
    write_json(run.manifest, {**begun, **end})
