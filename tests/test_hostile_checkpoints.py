"""Checkpoints of strangers and failing disks: none deletes, runs, hangs or loads other weights."""

from __future__ import annotations

import io
import resource
import struct
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.runs import TINY

from lnq.errors import UsageError
from lnq.inference.segmenter import Segmenter
from lnq.networks.checkpoint_file import CHECKSUM, load_file, values_hash
from lnq.networks.transfer import read_checkpoint

Train = Callable[..., int]
Contents = dict[str, Any]

RUN = ("+experiment=dbdmp", *TINY, "callbacks.ramp_up.t_max=0", "trainer.max_epochs=1",
       "trainer.limit_val_batches=0")  # fmt: skip

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def trained(tiny_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a run that stopped in its only epoch."""
    from lnq.callbacks import StepSeed
    from lnq.train import main

    original, folder = StepSeed.on_train_batch_start, tmp_path_factory.mktemp("run")

    def stop(self: StepSeed, trainer: Any, *rest: Any) -> None:
        if trainer.global_step == 2:
            raise KeyboardInterrupt
        original(self, trainer, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StepSeed, "on_train_batch_start", stop)
        with pytest.raises(SystemExit):
            main([*RUN, f"store={tiny_store}", f"run_dir={folder}/run"])
    return folder / "run" / "checkpoints" / "last.ckpt"


@pytest.fixture
def resumed(
    trained: Path, tiny_store: Path, tmp_path: Path, train: Train,
    capsys: pytest.CaptureFixture[str],
) -> Callable[..., tuple[int, str]]:  # fmt: skip
    """`resumed(change)` goes on with the checkpoint as changed; exit code and what was said."""

    def run(change: Callable[[Contents], object], *, sealed: bool = True) -> tuple[int, str]:
        contents = torch.load(trained, weights_only=True)
        change(contents)
        if sealed:  # a stranger can make the hash, too
            contents["lnq"].pop(CHECKSUM, None)
        path = tmp_path / "run" / "checkpoints" / "last.ckpt"
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(contents, path)
        code = train(*RUN, f"store={tiny_store}", f"run_dir={tmp_path}/run", "ckpt_path=last")
        return code, capsys.readouterr().err

    return run


def test_no_path_of_a_checkpoint_is_deleted(
    resumed: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "thesis.txt").write_text("years of work")

    def poison(contents: Contents) -> None:
        (key,) = (key for key in contents["callbacks"] if key.startswith("ModelCheckpoint"))
        paths = dict.fromkeys(("best_model_path", "last_model_path", "kth_best_model_path"),
                              str(victim))  # fmt: skip
        contents["callbacks"][key] |= {**paths, "best_k_models": {str(victim): torch.tensor(1.0)}}

    code, said = resumed(poison)
    assert code == 0, said
    assert (victim / "thesis.txt").read_text() == "years of work"


def every(value: Any) -> Callable[[Contents], object]:
    """Puts a value in the place of every number of the loops."""

    def change(node: Any) -> Any:
        return {k: change(v) for k, v in node.items()} if isinstance(node, dict) else value

    return lambda contents: contents.update(loops=change(contents["loops"]))


def with_entry(key: str, value: Any) -> Callable[[Contents], object]:
    return lambda contents: contents.update({key: value})


def other_tensors(contents: Contents) -> None:
    state = contents["state_dict"]
    name = next(iter(state))
    state[name] = torch.zeros(7)


def other_momentum(contents: Contents) -> None:
    contents["optimizer_states"][0]["state"] = {99: {"momentum_buffer": "x"}}


@pytest.mark.parametrize(
    "change",
    [
        other_tensors,
        lambda contents: contents["state_dict"].popitem(),
        lambda contents: contents["optimizer_states"][0].pop("param_groups"),
        with_entry("optimizer_states", [{}]),
        with_entry("optimizer_states", "x"),
        with_entry("optimizer_states", []),
        with_entry("loops", {}),
        with_entry("loops", {"fit_loop": []}),
        with_entry("loops", None),
        every("x"),
        every(None),
        with_entry("epoch", "two"),
        with_entry("global_step", -1),
        with_entry("pytorch-lightning_version", "none"),
        with_entry("callbacks", [1]),
        with_entry("callbacks", {"EarlyStopping{}": {"wait_count": "x"}}),
    ],
)
def test_what_does_not_fit_is_refused_or_left_out(
    resumed: Callable[..., tuple[int, str]], change: Callable[[Contents], object]
) -> None:
    code, said = resumed(change)
    assert code in (0, 2), said
    assert "Traceback" not in said
    assert (code == 2) == said.startswith("error: ")


def test_another_value_than_was_written_is_told_by_our_hash(
    resumed: Callable[..., tuple[int, str]],
) -> None:
    """An intact archive, with sound checksums of its own."""

    def change(contents: Contents) -> None:
        next(iter(contents["state_dict"].values())).view(-1)[0] += 1e-3

    code, said = resumed(change, sealed=False)
    assert code == 2
    assert "it holds other values than lnq.train wrote" in said


def test_the_hash_is_of_every_value(trained: Path) -> None:
    contents = load_file(trained).contents
    before = values_hash(contents)
    assert contents["lnq"][CHECKSUM] == before
    contents["lnq"]["config"]["seed"] += 1
    assert values_hash(contents) != before


def test_a_bit_flipped_in_the_archive_s_own_tables_loads_nothing_else(trained: Path) -> None:
    """Of every entry, in both of its headers: another offset or size would be another tensor."""
    good = trained.read_bytes()
    whole = load_file(trained).contents
    path = trained.with_name("flipped.ckpt")
    with zipfile.ZipFile(trained) as archive:
        entries, central = archive.infolist(), archive.start_dir
    refused = 0
    for number, entry in enumerate(entries):
        for place in (entry.header_offset + number % 30, central + number % 46):
            data = bytearray(good)
            data[place] ^= 1 << (number % 8)
            path.write_bytes(bytes(data))
            try:
                read = load_file(path).contents
            except UsageError:
                refused += 1
            else:
                assert values_hash(read) == values_hash(whole)
        central += 46 + sum(struct.unpack("<3H", good[central + 28 : central + 34]))
    assert refused > len(entries) // 2


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value] * 9
    return value


def in_itself() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    "bomb",
    [
        nested(20), in_itself(), {"a": [[[[nested(8)]]]]}, 1 << 5000,
        torch.zeros(1).expand(40_000_000_000), torch.empty(3, device="meta"),
        torch.zeros(3).to_sparse(),
    ],
    ids=["shared lists", "a list in itself", "deep", "a long number", "one value spread",
         "no values", "sparse"],
)  # fmt: skip
def test_bombs_are_refused_at_once(tmp_path: Path, trained: Path, bomb: Any) -> None:
    contents = torch.load(trained, weights_only=True)
    contents["lnq"]["config"]["more"] = bomb
    path = tmp_path / "last.ckpt"
    torch.save(contents, path)
    begun = time.monotonic()
    with pytest.raises(UsageError) as caught:
        read_checkpoint(path)
    assert "it holds" in str(caught.value) or "more than tensors" in str(caught.value)
    assert time.monotonic() - begun < 20


@pytest.mark.parametrize(
    ("node", "sizes"),
    [
        ("network", {"widths": [10**9, 10**9]}),
        ("network", {"widths": [4096, 4096]}),
        ("network", {"widths": [2] * 10**5, "dropouts": [0.0] * (10**5 - 1)}),
        ("network", {"in_channels": 4000}),
        ("network", {"out_channels": 10**9}),
        ("datamodule", {"patch_size": [10**9, 8, 8]}),
        ("datamodule", {"patch_size": [1024, 1024, 1024]}),
        ("preprocessing", {"spacing_mm": [1e9, 1e9, 1e9]}),
        ("preprocessing", {"spacing_mm": [1e-9, 1.0, 1.0]}),
        ("preprocessing", {"spacing_mm": [float("inf"), 1.0, 1.0]}),
        ("preprocessing", {"spacing_mm": [float("nan"), 1.0, 1.0]}),
        ("preprocessing", {"margin_mm": [1e9, 1e9, 1e9]}),
    ],
)
def test_sizes_are_refused_before_memory_is_taken(
    tmp_path: Path, trained: Path, node: str, sizes: dict[str, Any]
) -> None:
    contents = torch.load(trained, weights_only=True)
    contents["lnq"].pop(CHECKSUM)
    record = contents["lnq"]
    (record if node == "preprocessing" else record["config"])[node] |= sizes
    path = tmp_path / "last.ckpt"
    torch.save(contents, path)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UsageError):
        Segmenter.load(path, device="cpu")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


def test_a_compressed_archive_is_not_unpacked(tmp_path: Path, trained: Path) -> None:
    path = tmp_path / "last.ckpt"
    with zipfile.ZipFile(trained) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
        with archive.open("archive/data/bomb", "w") as bomb:
            for _ in range(64):
                bomb.write(bytes(1 << 20))
    with pytest.raises(UsageError, match="is compressed"):
        read_checkpoint(path)


@pytest.mark.parametrize("kind", [torch.int64, torch.bool, torch.complex64])
def test_weights_are_floating_point(tmp_path: Path, trained: Path, kind: torch.dtype) -> None:
    contents = torch.load(trained, weights_only=True)
    contents["lnq"].pop(CHECKSUM)
    name, tensor = next(iter(contents["state_dict"].items()))
    contents["state_dict"][name] = tensor.to(kind)
    path = tmp_path / "last.ckpt"
    torch.save(contents, path)
    with pytest.raises(UsageError, match=f"{name}.*{str(kind)[6:]}, not floating point"):
        read_checkpoint(path)


def test_an_entry_that_is_there_twice_is_refused(tmp_path: Path, trained: Path) -> None:
    path, data = tmp_path / "last.ckpt", io.BytesIO(trained.read_bytes())
    with zipfile.ZipFile(data, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(archive.namelist()[0], b"another")
    path.write_bytes(data.getvalue())
    with pytest.raises(UsageError, match="is there twice"):
        read_checkpoint(path)
