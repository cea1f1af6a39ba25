"""The command figures: one picture, of a store's case or of a phantom, the same every time."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from support.stores import write_store

from lnq.config import instantiate
from lnq.config.composition import compose
from lnq.data.patches.corruption import GenesisCorruption
from lnq.data.patches.example import example_patch
from lnq.data.store.case_store import CaseStore
from lnq.errors import UsageError
from lnq.figures import main
from lnq.reporting.corruption import corrupted, corruption_figure
from lnq.volume import Grid, Volume

SIZE = (12, 40, 70)
Figures = Callable[..., int]


@pytest.fixture
def figures() -> Figures:
    """`figures(*arguments)` runs `python -m lnq.figures` and gives its exit code."""

    def run(*arguments: object) -> int:
        with pytest.raises(SystemExit) as stop:
            main([str(argument) for argument in arguments])
        return int(stop.value.code or 0)

    return run


@pytest.fixture(scope="module", params=["zhou", "original"])
def corruption(request: pytest.FixtureRequest) -> GenesisCorruption:
    return instantiate(compose("figures", [f"corruption={request.param}"]).corruption)


def patch() -> Volume:
    array = np.random.default_rng(1).normal(size=SIZE).astype(np.float32)
    return Volume(array, Grid(SIZE, (3.0, 0.8, 1.6)))


@pytest.mark.slow
def test_each_picture_shows_the_corruption_its_title_tells(corruption: GenesisCorruption) -> None:
    given = patch().array
    before = given.copy()
    made = corrupted(given, corruption, seed=3)
    assert np.array_equal(given, before)
    assert np.array_equal(made["patch as it is"], given)
    assert all(not np.array_equal(p, given) for p in list(made.values())[1:])
    order = np.argsort(given, axis=None)
    assert (np.diff(made["Bezier curve, rising"].ravel()[order]) >= 0).all()
    inverted = made["Bezier curve, inverted"].ravel()[order]
    assert inverted[0] > inverted[-1]
    shuffled = made["local shuffling"]
    assert np.isin(shuffled, given).all()
    # all together: around the kept boxes the noise of the out-painting, over a range of its own
    kept = made["out-painting"] == given
    together = made["shuffled, mapped, out-painted"]
    assert 0.01 < kept.mean() < 0.99
    noise = made["out-painting"]
    assert np.corrcoef(together[~kept], noise[~kept])[0, 1] > 0.999
    assert np.corrcoef(together[kept], noise[kept])[0, 1] < 0.99
    again = corrupted(given, corruption, seed=3)
    assert all(np.array_equal(made[name], again[name]) for name in made)
    other = corrupted(given, corruption, seed=4)
    assert all(not np.array_equal(made[name], other[name]) for name in list(made)[1:])


def test_the_figure_shows_one_slice_of_all_in_one_grey_window(
    corruption: GenesisCorruption,
) -> None:
    given = patch()
    figure = corruption_figure(given, corruption, seed=3)
    *pictures, curves = figure.axes
    made = corrupted(given.array, corruption, seed=3)
    assert [plot.get_title(loc="left") for plot in pictures] == list(made)
    (index,) = re.findall(r"slice (\d+) of 12", figure.get_supxlabel())
    window = pytest.approx(np.percentile(given.array, (0.1, 99.9)))
    for plot, expected in zip(pictures, made.values(), strict=True):
        (image,) = plot.get_images()
        assert np.array_equal(image.get_array(), expected[int(index) - 1])
        assert image.get_clim() == window
        assert plot.get_aspect() == 0.5  # rows of 0.8 mm, columns of 1.6 mm
    rising, inverted = (line.get_ydata() for line in curves.get_lines())
    assert (rising[0], rising[-1]) == window
    assert (inverted[-1], inverted[0]) == window


@pytest.mark.slow
def test_one_command_with_nothing_draws_the_phantom(figures: Figures, tmp_path: Path) -> None:
    assert figures(f"paths.outputs={tmp_path}", "patch_size=[16,40,64]") == 0
    drawn = matplotlib.image.imread(tmp_path / "figures" / "corruption.png")
    assert drawn.shape[1] == 3450
    assert drawn[..., :3].std() > 0.2  # not a blank page
    edge = np.concatenate([drawn[0], drawn[-1], drawn[:, 0], drawn[:, -1]])[:, :3]
    assert (edge == 1).all()  # nothing is cut off


@pytest.mark.slow
def test_a_store_s_case_gives_the_same_bytes_each_time(
    figures: Figures, tiny_store: Path, tmp_path: Path
) -> None:
    def drawn(name: str, *more: str) -> bytes:
        output = tmp_path / name
        given = (f"store={tiny_store}", "patch_size=[4,8,8]", f"output={output}", *more)
        assert figures(*given) == 0
        return output.read_bytes()

    assert drawn("1.svg") == drawn("2.svg")
    assert drawn("1.png") == drawn("2.png") != drawn("3.png", "seed=1")
    assert drawn("4.png", "case=b") != drawn("1.png")
    assert drawn("5.png", "corruption=original") != drawn("1.png")


def test_the_example_is_a_patch_of_training_around_a_node(tiny_store: Path) -> None:
    store = CaseStore(tiny_store)
    example = example_patch((4, 6, 6), store, "b")
    assert example.grid.spacing_mm == store.record("b").grid.spacing_mm
    image = store.image("b")
    # the nodes lie in the last slice, first rows, last columns
    assert np.array_equal(example.array, image[-4:, :6, -6:].astype(np.float32))
    first = example_patch((4, 6, 6), store).array
    assert np.array_equal(first, example_patch((4, 6, 6), store, "a").array)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["output=x.gif"], ["output", "must end in .png or .svg"]),
        (["figure=loss"], ["figure", "corruption"]),
        (["patch_size=[0,8,8]"], ["patch_size[0]"]),
        (["corruption=zou"], ["corruption=zou", "did you mean zhou?"]),
        (["corruption.shuffling.num_window=3"], ["num_window", "did you mean"]),
        (["case=x"], ["no case 'x'", "Give the store"]),
        (["store=nowhere"], ["nowhere", "lnq.preprocess"]),
        (["store={store}", "case=x"], ["no case 'x'", "There are a, b, v"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else None,
)
@pytest.mark.slow
def test_a_fault_is_told_and_nothing_written(
    arguments: list[str], expected: list[str], figures: Figures, tiny_store: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert figures(*(text.format(store=tiny_store) for text in arguments)) == 2
    said = capsys.readouterr().err
    for words in expected:
        assert words in said
    assert list(tmp_path.iterdir()) == []


def test_an_empty_store_is_refused(tmp_path: Path) -> None:
    write_store(tmp_path, {})
    with pytest.raises(UsageError, match="no cases"):
        example_patch((4, 4, 4), CaseStore(tmp_path))
