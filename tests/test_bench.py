"""`make bench`: the authors' code is timed where it is; all ends in time, and gaps are said."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
# A made-up checkout: the modules, classes and arguments of the authors' code, nothing of it.
FILES = {
    "training/VNetv2": """
        import torch
        from torch import nn

        class VNet_CCT_dropout_3D(nn.Module):
            def __init__(self, in_channels=1, n_classes=2, is_batchnorm=True):
                super().__init__()
                self.main = nn.Conv3d(in_channels, n_classes, 1)
                self.aux = nn.Conv3d(in_channels, n_classes, 1)

            def forward(self, x):
                return self.main(x), self.aux(x)
        """,
    "training/loss/compound_losses": """
        from torch import nn
        from nnunetv2.training.loss.robust_ce_loss import RobustCrossEntropyLoss

        class Tversky_and_SCE_loss(nn.Module):
            def __init__(self, tversky_kwargs, ce_kwargs, weight_ce=1, weight_tversky=1,
                         ignore_label=None):
                super().__init__()
                self.scale = tversky_kwargs["alpha"] + ce_kwargs["alpha"]

            def forward(self, net_output, target):
                return self.scale * net_output.square().mean()
        """,
    "training/loss/Program_loss": """
        import torch
        from torch import nn

        class KL_CE_loss(nn.Module):
            def __init__(self, apply_nonlin=True):
                super().__init__()
                self.weight = torch.Tensor([1, 10.]).to("cuda")

            def forward(self, pred_main, pred_aux, label):
                return self.weight[1] * (label[:, 1] * pred_main[:, 1]).mean()
        """,
    "training/loss/robust_ce_loss": """
        from torch import nn

        class RobustCrossEntropyLoss(nn.CrossEntropyLoss):
            def forward(self, input, target):
                return super().forward(input, target[:, 0].long())
        """,
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / "nnUNet" / "nnunetv2" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(line[8:] for line in text.splitlines()))
    return tmp_path


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ModuleType]]:
    """Modules of benchmarks/, by name."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.delenv("ORIGINAL", raising=False)
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)  # as it was, at the end
    yield {name: importlib.import_module(name) for name in ("original", "plain", "training", "run")}
    for name in set(sys.modules) - before:
        place = getattr(sys.modules[name], "__file__", None) or ""
        if place.startswith(str(BENCHMARKS)) or name.startswith("nnunetv2"):
            del sys.modules[name]


def given() -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    main, aux = (torch.randn(2, 2, 2, 3, 4, generator=generator) for _ in "ab")
    y = (torch.rand(2, 1, 2, 3, 4, generator=generator) < 0.3).float()
    return main, aux, y, torch.tensor(0.25), torch.tensor(2.0)


def test_the_authors_losses_are_put_together_as_their_step_does(
    bench: dict[str, ModuleType], checkout: Path
) -> None:
    held_against = bench["original"].reference(checkout, {}, torch.device("cpu"))
    main, aux, y, theta, lambda_p = given()
    p, q = main.softmax(1), aux.softmax(1)
    label = torch.softmax((0.25 * p + 0.75 * q) / 0.3, dim=1)[:, 1]
    label[y[:, 0] == 1] = 1 - 1e-4
    supervised = sum(
        1.2 * x.square().mean() - x.log_softmax(1)[:, 1][y[:, 0] == 1].mean() for x in (main, aux)
    )
    pseudo = sum(10 * (label * x[:, 1]).mean() for x in (main, aux))
    expected = 0.25 * supervised + 0.5 * pseudo
    found = held_against.loss(main, aux, y, theta, lambda_p)
    assert found.item() == pytest.approx(float(expected), rel=1e-5)
    assert (held_against.name, held_against.half) == (str(checkout), True)
    assert str(checkout) not in sys.path


def test_a_step_of_the_authors_code_is_timed(bench: dict[str, ModuleType], checkout: Path) -> None:
    found = bench["training"].reference_step((4, 8, 8), {}, 3, checkout)
    assert found["ms"] > 0
    network = bench["original"].reference(checkout, {}, torch.device("cpu")).network
    assert type(network).__name__ == "VNet_CCT_dropout_3D"


def test_without_a_checkout_the_stand_in_is_timed(bench: dict[str, ModuleType]) -> None:
    small = {"widths": (2, 4), "dropouts": (0.1,)}
    held_against = bench["original"].reference(None, small, torch.device("cpu"))
    assert held_against.loss is bench["plain"].plain_loss
    assert "stand-in" in held_against.name
    assert bench["training"].reference_step((4, 8, 8), small, 3, None)["ms"] > 0


def test_what_is_no_checkout_is_refused_by_what_is_missing(
    bench: dict[str, ModuleType], checkout: Path
) -> None:
    (checkout / "nnUNet/nnunetv2/training/loss/robust_ce_loss.py").unlink()
    with pytest.raises(SystemExit, match=r"loss/robust_ce_loss\.py missing\. Give ORIGINAL=DIR"):
        bench["original"].reference(checkout, {}, torch.device("cpu"))


def test_the_table_says_what_stands_beside_the_figures(
    bench: dict[str, ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[str, dict[str, Any]] = {
        "training": {"ms": 50.0}, "reference": {"ms": 110.0}, "help": bench["run"].LEFT_OUT,
    }  # fmt: skip
    told = bench["run"].table(found)
    assert told.startswith("Reference: the stand-in of benchmarks/plain.py.")
    assert "| training | ms 50 | 2.20 |" in told
    assert "| help | left_out no time was left | |" in told
    monkeypatch.setenv("ORIGINAL", "/their/code")
    assert bench["run"].table(found).startswith("Reference: the authors' code, /their/code.")


@pytest.mark.slow
def test_all_ends_in_time_and_says_what_was_left_out(
    bench: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = bench["run"]

    class Endless:
        """In the place of a process; ends when it is killed."""

        pid = 0

        def wait(self, timeout: float | None = None) -> int:
            if timeout is None:
                return -9
            time.sleep(min(timeout, 5.0))
            raise subprocess.TimeoutExpired("", timeout)

    killed: list[int] = []
    monkeypatch.setattr(os, "killpg", lambda pid, _: killed.append(pid))
    monkeypatch.setattr(run.Driver, "_start", lambda *_: Endless())
    begun = time.monotonic()
    driver = run.Driver(tmp_path, tmp_path / "out", begun + 1.5)
    driver.run(["losses, on the CPU", "windows", "help"])
    assert len(killed) == 1
    assert set(driver.found.pop("losses, on the CPU")) == {"not_within_s"}
    assert driver.found == {"windows": run.LEFT_OUT, "help": run.LEFT_OUT}
