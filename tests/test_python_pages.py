"""The Python in docs/ runs as it stands, on a phantom, and computes what training computes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk
import torch
from support import REPOSITORY
from support.methods import KLCE, PAPER, dbdmp
from support.phantoms import drawn_once
from support.untrained import untrained_run
from torch import Tensor, nn

from lnq.data.phantom import LargestNodes
from lnq.losses import Kinds
from lnq.networks import DualBranchVNet
from lnq.schedules import ramp_up
from lnq.volume import to_sitk

HOW_TO = REPOSITORY / "docs" / "how-to"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WITH_PYTHON = {"python-api.md", "losses-in-your-loop.md", "corruption-in-your-loop.md"}


def run_page(name: str, **given: Any) -> dict[str, Any]:
    """Runs the blocks of a page one after the other; the names there are in the end."""
    names = dict(given)
    for number, block in enumerate(BLOCK.findall((HOW_TO / name).read_text()), start=1):
        exec(compile(block, f"{name}, block {number}", "exec"), names)
    return names


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def patches() -> tuple[Tensor, Tensor]:
    """Two patches of a phantom around its largest node, normalised, and their annotations."""
    case = drawn_once(0, "train", 1, LargestNodes(1), size_yx=64)
    nodes = torch.from_numpy((case.instances.array > 0).astype("float32"))
    z, y, x = (int(v) for v in nodes.nonzero().float().mean(dim=0))
    where = tuple(slice(max(0, at - 8), max(0, at - 8) + 16) for at in (z, y, x))
    image = torch.from_numpy(case.image.array[where].astype("float32"))[None, None]
    label = nodes[where][None, None]
    assert label.any()
    image = (image - image.mean()) / image.std()
    return torch.cat([image, image.flip(4)]), torch.cat([label, label.flip(4)])


def test_every_page_with_python_is_run_here() -> None:
    pages = (REPOSITORY / "docs").rglob("*.md")
    assert {page.name for page in pages if BLOCK.search(page.read_text())} == WITH_PYTHON


@pytest.mark.usefixtures("one_thread")
@pytest.mark.slow
def test_a_trained_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for seed, name in enumerate(("dbdmp", "baseline")):
        run = Path("outputs") / name
        untrained_run(run, (16, 32, 32), {"spacing_mm": [6.0, 5.0, 5.0]}, seed=seed)
    scan = to_sitk(drawn_once(0, "test", 1, LargestNodes(1), size_yx=64).image)
    sitk.WriteImage(scan, "scan.nrrd")
    names = run_page("python-api.md")
    mask, probability = sitk.ReadImage("mask.nrrd"), sitk.ReadImage("probability.nrrd")
    assert mask.GetSize() == probability.GetSize() == scan.GetSize()
    assert sitk.GetArrayFromImage(mask).any()
    assert all(node.disagreement is not None for node in names["found"].nodes)
    said = capsys.readouterr().out
    assert re.search(r"^1: \d+ mm³, short axis \d+\.\d mm$", said, re.MULTILINE)
    assert re.search(r"^mean of all nodes: -?\d+ HU$", said, re.MULTILINE)
    assert "lost.nrrd" in said.splitlines()[-1]


class TwoBranches(nn.Module):
    """Keeps what it gave: the method is asked about the same logits."""

    def __init__(self) -> None:
        super().__init__()
        self.network = DualBranchVNet(widths=(2, 4), dropouts=(0.0,))
        self.given: tuple[Tensor, ...] = ()

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        self.given = self.network(x)
        return self.given


@pytest.mark.slow
def test_the_losses() -> None:
    torch.manual_seed(0)
    network, (image, y) = TwoBranches(), patches()
    before = [p.detach().clone() for p in network.parameters()]
    names = run_page("losses-in-your-loop.md", network=network, loader=[(image, y)])
    assert any(not torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))
    main, aux, kinds = *network.given, Kinds(y)
    method = dbdmp(network.network, supervised=PAPER, pseudo=KLCE)
    supervised, _ = method.supervised_loss((main, aux), kinds)
    target = method.pseudo_label(main, aux, kinds, names["theta"])
    assert torch.equal(names["pseudo"], target)
    method.pseudo_label = lambda *_: target
    agreement, _ = method.pseudo_loss(main, aux, kinds, names["theta"])
    expected = supervised + ramp_up(0, 2.0, 100) * agreement
    assert names["loss"].item() == pytest.approx(expected.item(), rel=1e-6)


def test_the_corruption() -> None:
    torch.manual_seed(0)
    network, (image, _) = nn.Conv3d(1, 1, 3, padding=1), patches()
    given, weight = image.clone(), network.weight.detach().clone()
    names = run_page("corruption-in-your-loop.md", network=network, loader=[image])
    assert torch.equal(image, given)
    assert names["torn"].shape == image.shape
    assert all(
        not torch.equal(torn, patch) for torn, patch in zip(names["torn"], image, strict=True)
    )
    assert not torch.equal(network.weight, weight)
    again = run_page("corruption-in-your-loop.md", network=network, loader=[image])
    assert torch.equal(again["torn"], names["torn"])
