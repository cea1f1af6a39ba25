"""What a configuration may build and read: listed classes alone, and no secret."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lnq.config import instantiate
from lnq.errors import ConfigError
from lnq.train import TrainConfig

SECRET = "s3cr3t-0123456789abcdef"


@pytest.mark.parametrize(
    "target",
    ["torch.load", "builtins.open", "os.system", "torch.nn.os.system", "lnq.files.subprocess.run",
     "torch.optim.nothing"],
)  # fmt: skip
@pytest.mark.parametrize(
    "place",
    ["optimizer._target_", "method.inferer._target_", "+callbacks.mine._target_",
     "datamodule.transform._target_", "+network.extra.deep._target_",
     "+hydra.callbacks.mine._target_", "hydra.launcher._target_"],
)  # fmt: skip
@pytest.mark.slow
def test_only_classes_of_known_packages_are_built(
    refused: Callable[..., str], target: str, place: str
) -> None:
    said = refused(f"{place}={target}")
    assert f"_target_ {target} " in said


OPENS = "{_target_: builtins.open, file: bad, mode: w}"


@pytest.mark.parametrize(
    "node",
    [
        "callbacks: {x: {_target_: torch.load, f: bad, weights_only: false}}",
        "callbacks: {x: '${oc.create:\"" + OPENS + "\"}'}",
        "sweeper: {jobs: {deep: [" + OPENS + "]}}",
        "job_logging: {root: {handlers: [x]}, handlers: {x: {class: builtins.open, file: bad}}}",
        "mode: MULTIRUN",
    ],
)
@pytest.mark.slow
def test_what_hydra_itself_would_call_is_refused(
    refused: Callable[..., str], tmp_path: Path, node: str
) -> None:
    file = tmp_path / "own" / "experiment" / "mine.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(f"# @package _global_\nhydra: {{{node}}}\n")
    for several in ([], ["-m"]):
        said = refused(*several, "--config-dir", str(tmp_path / "own"), "+experiment=mine")
        assert said.startswith(f"error: hydra.{node.partition(':')[0]}")


@pytest.mark.slow
def test_what_is_run_is_what_was_checked(
    composed: Callable[..., list[TrainConfig]], refused: Callable[..., str], tmp_path: Path
) -> None:
    """A file of the user's that is called as one of ours replaces it in neither."""
    file = tmp_path / "own" / "hydra" / "default.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(f"callbacks: {{x: {OPENS}}}\n")
    assert len(composed("--config-dir", str(tmp_path / "own"))) == 1
    assert not (tmp_path / "bad").exists()
    for option in ("--run", "--config-name=train", "--package=x", "--multi"):
        assert "cannot parse the command line" in refused(option)


def test_lists_are_searched_for_targets_too(
    refused: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    transforms = "[{_target_:os.system,command:touch bad}]"
    said = refused(f"datamodule.transform.transforms={transforms}")
    assert "datamodule.transform.transforms[0]: _target_ os.system is not allowed" in said
    assert not (tmp_path / "bad").exists()


@pytest.mark.parametrize(
    "target",
    ["torch.load", "os.system", "builtins.eval", "lnq.train.main", "torchio.datasets.IXI",
     "monai.apps.auto3dseg.bundle_gen.BundleGen"],
)  # fmt: skip
def test_instantiate_itself_refuses_what_is_not_allowed(target: str) -> None:
    with pytest.raises(ConfigError, match="is not"):
        instantiate({"_target_": target})
    with pytest.raises(ConfigError, match="is not"):
        instantiate({"_target_": "torch.nn.Sequential", "args": {"_target_": target}})


@pytest.mark.parametrize(
    "value",
    [
        "${oc.env:WANDB_API_KEY}",
        "${oc.env:WANDB_API_KEY,none}",
        "a-${oc.env: WANDB_API_KEY}",
        "${oc.decode:${oc.env:WANDB_API_KEY}}",
        "${oc.env:MY_TOKEN}",
    ],
)
@pytest.mark.slow
def test_secrets_are_not_read_into_a_configuration(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    monkeypatch.setenv("MY_TOKEN", SECRET)
    for key in ("name", "+method.note"):
        said = refused(f"{key}='{value}'")
        assert "would be read into the configuration" in said
        assert SECRET not in said


def test_the_variable_of_the_secret_is_named(
    refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", SECRET)
    assert "WANDB_API_KEY would be read" in refused("name=${oc.env:WANDB_API_KEY}")
