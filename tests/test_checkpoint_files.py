"""Checkpoint files: read back, and refused where damaged, hostile or of something else."""

from __future__ import annotations

import pickle
import random
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from support.faults import Payload, refused
from support.networks import dual
from torch import nn

from lnq.errors import UsageError
from lnq.inference.loading import load_network
from lnq.inference.segmenter import Segmenter
from lnq.networks.checkpoint_file import load_file
from lnq.networks.transfer import (
    find_checkpoint,
    read_checkpoint,
    read_record,
)


def contents(network: nn.Module) -> dict[str, Any]:
    """What lnq.train puts into a checkpoint, as far as it is read here."""
    return {
        "state_dict": {f"network.{key}": t for key, t in network.state_dict().items()},
        "lnq": {
            "config": {
                "network": {
                    "_target_": "lnq.networks.DualBranchVNet",
                    "out_channels": 2,
                    "widths": [4, 6, 8],
                    "dropouts": [0.0, 0.0],
                },
                "datamodule": {"patch_size": [16, 32, 64]},
            },
            "preprocessing": {"spacing_mm": [3.0, 0.8, 0.8]},
        },
        "epoch": 3,
    }


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "last.ckpt"
    torch.save(contents(dual()), path)
    return path


def put_to_use(path: Path) -> object:
    return Segmenter.load(path, "cpu")


def test_checkpoint_is_read_back_by_file_and_by_run_folder(tmp_path: Path) -> None:
    network = dual()
    file = tmp_path / "run" / "checkpoints" / "last.ckpt"
    file.parent.mkdir(parents=True)
    torch.save(contents(network), file)
    for path in (file, tmp_path / "run"):
        read = read_checkpoint(path)
        assert read.path == file
        assert read.patch_size == (16, 32, 64)
        assert read.network["out_channels"] == 2
        assert read.preprocessing == {"spacing_mm": [3.0, 0.8, 0.8]}
        assert read.state.keys() == network.state_dict().keys()
        assert all(torch.equal(read.state[k], t) for k, t in network.state_dict().items())


def test_missing_file_and_run_without_checkpoint(tmp_path: Path) -> None:
    assert "no such file" in refused(find_checkpoint, tmp_path / "nothing.ckpt")
    with pytest.raises(UsageError, match="not saved one yet"):
        find_checkpoint(tmp_path)


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
def test_truncated_and_empty_files_are_refused(checkpoint: Path, share: float) -> None:
    data = checkpoint.read_bytes()
    checkpoint.write_bytes(data[: int(share * len(data))])
    assert "damaged" in refused(read_checkpoint, checkpoint)


def test_garbage_is_refused(checkpoint: Path) -> None:
    checkpoint.write_bytes(random.Random(0).randbytes(5000))
    assert "damaged" in refused(read_checkpoint, checkpoint)
    checkpoint.write_text("version https://example.org/pointer\nsize 123\n")
    assert "damaged" in refused(read_checkpoint, checkpoint)


def test_a_bit_flipped_in_a_weight_is_found(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": {"network.a": torch.arange(1000.0)}, "lnq": {}}, path)
    data = bytearray(path.read_bytes())
    at = data.index(torch.arange(1000.0).numpy().tobytes()) + 2001
    data[at] ^= 0x10
    path.write_bytes(bytes(data))
    assert "bad checksum of" in refused(load_file, path)


@pytest.mark.slow
def test_a_bit_flipped_anywhere_is_refused_or_harmless(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    torch.save({"state_dict": {"network.a": torch.arange(9.0)}, "lnq": {"epoch": 3}}, path)
    good = path.read_bytes()
    rng = random.Random(4)
    refusals = 0
    for at in range(0, len(good), 3):
        data = bytearray(good)
        data[at] ^= 1 << rng.randrange(8)
        path.write_bytes(bytes(data))
        try:
            read = load_file(path).contents
        except UsageError:
            refusals += 1
        else:  # padding and time stamps carry nothing
            assert torch.equal(read["state_dict"]["network.a"], torch.arange(9.0))
            assert read["lnq"] == {"epoch": 3}
    assert refusals > 200


@pytest.mark.parametrize("pickled", [b"", b"garbage", b"\x80\x02\xff", b"\x80\x02)\x81.", b"."])
def test_an_intact_archive_with_a_senseless_pickle_is_refused(
    checkpoint: Path, pickled: bytes
) -> None:
    with zipfile.ZipFile(checkpoint) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(checkpoint, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, pickled if name.endswith("data.pkl") else data)
    assert "damaged" in refused(load_file, checkpoint)


def test_an_archive_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scans.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "scan")
    refused(load_file, path)


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    marker, path = tmp_path / "ran", tmp_path / "last.ckpt"
    torch.save(contents(dual()) | {"payload": Payload(marker)}, path)
    torch.load(path, weights_only=False)
    assert marker.exists()  # the payload does work where it is let
    marker.unlink()
    assert "more than tensors" in refused(read_checkpoint, path)
    assert not marker.exists()


def test_code_in_a_network_s_node_is_not_run(tmp_path: Path) -> None:
    marker, path = tmp_path / "ran", tmp_path / "last.ckpt"
    algorithm = {"template_path": ".", "x": f"$__import__('pathlib').Path({str(marker)!r}).touch()"}
    payload = {
        "_target_": "monai.apps.auto3dseg.bundle_gen.BundleGen",
        "algo_path": str(tmp_path),
        "algos": {"a": algorithm},
    }
    ours = {"_target_": "lnq.networks.DualBranchVNet"}
    for node in (payload, {**ours, "widths": payload}, {**ours, "widths": [2, [payload]]}):
        held = contents(dual())
        held["lnq"]["config"]["network"] = node
        torch.save(held, path)
        assert "is not allowed" in refused(put_to_use, path)
        assert not marker.exists()


def test_code_in_a_plain_pickle_is_not_run(tmp_path: Path) -> None:
    marker, path = tmp_path / "ran", tmp_path / "last.ckpt"
    data = pickle.dumps({"state_dict": {}, "lnq": Payload(marker)})
    pickle.loads(data)
    assert marker.exists()
    marker.unlink()
    path.write_bytes(data)
    refused(read_checkpoint, path)
    assert not marker.exists()


def test_a_foreign_checkpoint_is_refused_by_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "model_best.pth"
    torch.save({"model": {}, "optimizer": {}, "epoch": 3}, path)
    message = refused(read_checkpoint, path)
    assert "foreign" in message
    assert "epoch, model, optimizer" in message


@pytest.mark.parametrize(
    ("place", "value", "told"),
    [
        (("lnq",), 5, "lnq: "),
        (("lnq",), {}, "lnq.config: "),
        (("lnq", "config"), {}, "lnq.config.network: "),
        (("lnq", "config", "network"), {"widths": [4]}, "lnq.config.network: "),
        (("lnq", "config", "network"),
         {"_target_": "lnq.networks.dual_branch_vnet.Decoder", "out_channels": 2, "widths": [4, 6]},
         "is not allowed"),
        (("lnq", "config", "datamodule"), {"patch_size": [1, 2]}, "datamodule.patch_size"),
        (("lnq", "config", "datamodule"), {"patch_size": [16, 0, 64]}, "datamodule.patch_size"),
        (("lnq", "preprocessing"), [1], "lnq.preprocessing: "),
        (("lnq", "preprocessing"), {"foo": 1}, "foo: "),
        (("lnq", "preprocessing"), {"spacing_mm": [1, 2]}, "spacing_mm"),
        (("state_dict",), [1], "state_dict: "),
        (("state_dict", "network.a"), 1, "state_dict.network.a: "),
    ],
)  # fmt: skip
def test_a_checkpoint_that_holds_something_else_is_refused(
    tmp_path: Path, place: tuple[str, ...], value: Any, told: str
) -> None:
    path = tmp_path / "last.ckpt"
    held = contents(dual())
    torch.save(held, path)
    put_to_use(path)
    node = held
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = value
    torch.save(held, path)
    assert told in refused(put_to_use, path)


@pytest.mark.parametrize("record", [5, {}, {"config": {}}])
def test_a_run_with_a_malformed_record_is_not_resumed(tmp_path: Path, record: Any) -> None:
    path = tmp_path / "last.ckpt"
    torch.save(contents(dual()), path)
    known = {key: value for key, value in read_record(path).to_dict().items() if value}
    assert known == contents(dual())["lnq"]
    torch.save(contents(dual()) | {"lnq": record}, path)
    assert "not a checkpoint of lnq.train" in refused(read_record, path)


def test_a_list_of_tensors_is_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    torch.save([torch.zeros(3)], path)
    assert "it holds a list" in refused(read_checkpoint, path)


def test_a_damaged_checkpoint_points_to_its_neighbour(checkpoint: Path) -> None:
    other = checkpoint.with_name("last.ckpt.previous")
    other.write_bytes(checkpoint.read_bytes())
    checkpoint.write_bytes(b"")
    assert str(other) in refused(read_checkpoint, checkpoint)


def test_loading_leaves_the_random_numbers_alone(checkpoint: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load_network(read_checkpoint(checkpoint))
    assert torch.equal(torch.rand(3), expected)
