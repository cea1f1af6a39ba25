"""python -m lnq.predict checkpoint=RUN_OR_CKPT input=FILE_OR_DIR output=DIR: segments scans."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from rich.console import Console
from rich.progress import track

from lnq.config import Paths, command, instantiate
from lnq.data.preprocessing import Preprocessing
from lnq.data.readers import content_hash, find_scans
from lnq.errors import CaseError, UsageError
from lnq.files import FAILURES, FailureLog, sha256, sole_user, write_manifest
from lnq.inference.found_nodes import NODES, FoundNode, write_nodes
from lnq.inference.predictor import Predictor, choose_device
from lnq.inference.scans import Format, Job, plan, segment
from lnq.networks import DualBranchVNet, VNet
from lnq.networks.transfer import Checkpoint, read_checkpoint


@dataclass(frozen=True)
class PredictConfig:
    """Root of conf/predict.yaml.

    Attributes:
        checkpoint: Run folder of `lnq.train`, or a checkpoint file, the authors' `.pth` included.
        input: A scan, a DICOM folder, or a tree of these.
        output: Folder of the masks; None = `predictions` in the run folder.
        output_format: Format of all masks; None = each scan's own.
        save_probabilities: Also write probabilities.
        disagreement: Also evaluate the auxiliary decoder, for a column of `nodes.csv`.
        device: auto, cpu, cuda or cuda:N.
        overlap: Of neighbouring windows.
        mirror: Average over all flips.
        batch_size: Windows at a time.
        postprocess: Settings of `lnq.inference.post_processing.PostProcessing`.
        paths: Where everything goes.
    """

    checkpoint: Path
    input: Path
    output: Path | None
    output_format: Format | None
    save_probabilities: bool
    disagreement: bool
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")]
    overlap: Annotated[float, Field(ge=0, lt=1)]
    mirror: bool
    batch_size: Annotated[int, Field(ge=1)]
    postprocess: dict[str, Any]
    paths: Paths


@command("predict", PredictConfig)
def main(cfg: PredictConfig) -> int:
    """Segments every scan; a bad one is listed at the end and the others go on."""
    checkpoint = read_checkpoint(cfg.checkpoint)
    output = _output(cfg)
    jobs = plan(find_scans(cfg.input), cfg.input, output, cfg.output_format)
    predictor = _predictor(cfg, checkpoint)
    with sole_user(output):
        return _segment_all(cfg, checkpoint, predictor, jobs, output)


def _output(cfg: PredictConfig) -> Path:
    if cfg.output is not None:
        return cfg.output
    if not cfg.checkpoint.is_dir():
        raise UsageError(
            "where shall the masks go?", why="checkpoint is no run folder", remedy="give output=DIR"
        )
    return cfg.checkpoint / "predictions"


def _predictor(cfg: PredictConfig, checkpoint: Checkpoint) -> Predictor:
    device = choose_device(cfg.device)
    network = instantiate(checkpoint.network)
    if not isinstance(network, VNet):
        raise UsageError(
            "this checkpoint's network segments nothing", where=checkpoint.path,
            why=f"it is a {type(network).__name__}", remedy="give a run of lnq.train",
        )  # fmt: skip
    try:
        network.load_state_dict(checkpoint.state)
    except RuntimeError as error:
        raise UsageError(
            "the weights do not fit the checkpoint's own network", where=checkpoint.path,
            why=str(error).strip().splitlines()[-1].strip(), remedy="use another checkpoint",
        ) from error  # fmt: skip
    if cfg.disagreement and not isinstance(network, DualBranchVNet):
        raise UsageError(
            "disagreement=true needs a network of two decoders", where=checkpoint.path,
            why=f"it is a {type(network).__name__}", remedy="leave it out",
        )  # fmt: skip
    network.eval().to(device)
    return Predictor(
        network.main_logits,
        Preprocessing.from_dict(checkpoint.preprocessing),
        checkpoint.patch_size,
        instantiate(cfg.postprocess),
        overlap=cfg.overlap,
        mirror=cfg.mirror,
        batch_size=cfg.batch_size,
        device=device,
        both_logits=network if cfg.disagreement else None,
    )


def _segment_all(
    cfg: PredictConfig,
    checkpoint: Checkpoint,
    predictor: Predictor,
    jobs: Sequence[Job],
    output: Path,
) -> int:
    console = Console(soft_wrap=True, highlight=False, markup=False)
    failures = FailureLog()
    done: list[dict[str, Any]] = []
    nodes: list[tuple[str, Sequence[FoundNode]]] = []
    try:
        for job in track(jobs, "predict", console=console, disable=not console.is_terminal):
            try:
                found = segment(job, predictor, output, cfg.save_probabilities)
            except CaseError as error:
                failures.add(job.name, error)
                console.print(f"{job.name}: failed: {error}")
                continue
            image = str(job.image.absolute())
            entry = {"case": job.name, "image": image, "image_sha256": content_hash(job.image)}
            done.append({**entry, "mask": job.mask_name, "notes": found.notes})
            nodes.append((job.name, found.nodes))
            for note in found.notes:
                console.print(f"{job.name}: note: {note}")
    finally:
        # Also where the run is interrupted: the manifest tells which masks are there.
        write_nodes(output / NODES, nodes)
        used = {"path": str(checkpoint.path.absolute()), "sha256": sha256(checkpoint.path)}
        write_manifest(output, "predict", asdict(cfg), checkpoint=used, cases=done)
        code = failures.write(output)
    count = sum(len(of_case) for _, of_case in nodes)
    console.print(f"{len(done)} of {len(jobs)} scans segmented, {count} nodes -> {output}")
    if code:
        console.print(f"failed scans are listed in {output / FAILURES}")
    return code


if __name__ == "__main__":
    main()
