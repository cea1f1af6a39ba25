"""Each loss of a batch that lies in two processes is that of one process with all of it."""

from __future__ import annotations

import pytest
import torch
from support.loss_parts import ANNOTATED, LOSSES, PROCESSES, of_all, of_parts
from torch import Tensor, multiprocessing

Found = dict[tuple[str, str], list[Tensor]]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> list[Found]:
    folder = tmp_path_factory.mktemp("parts")
    multiprocessing.spawn(of_parts, (folder,), PROCESSES)
    return [torch.load(folder / f"{rank}.pt") for rank in range(PROCESSES)]


def assert_as_of_all(parts: list[list[Tensor]], whole: list[Tensor]) -> None:
    """Each process has the loss; the gradients' mean, as DDP takes it, is the whole's."""
    value, *slopes = whole
    for part in parts:
        torch.testing.assert_close(part[0], value, rtol=1e-12, atol=1e-12, equal_nan=True)
    for n, slope in enumerate(slopes, start=1):
        joined = torch.cat([part[n] for part in parts]) / len(parts)
        torch.testing.assert_close(joined, slope, rtol=1e-9, atol=1e-12, equal_nan=True)


@pytest.mark.process
@pytest.mark.parametrize("annotated", ANNOTATED)
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_of_parts_is_that_of_the_whole_batch(
    name: str, annotated: str, parts: list[Found]
) -> None:
    whole = of_all(name, annotated)
    assert whole[0].dtype == torch.float64
    undefined = annotated == "nowhere" and name in ("pce, nan", "original")
    assert whole[0].isnan() == undefined
    assert_as_of_all([part[name, annotated] for part in parts], whole)


@pytest.mark.process
def test_a_compiled_loss_holds_its_sums_without_a_break(parts: list[Found]) -> None:
    *_, last = ANNOTATED
    assert_as_of_all([part["compiled", ""] for part in parts], of_all("consensus", last))
