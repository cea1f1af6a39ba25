"""Notebooks run from top to bottom and are committed without outputs."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from support import REPOSITORY

NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))
SMALL = {
    "1_data": "CASES = 2",
    "2_corruption": "SIZE = (16, 40, 64)",
    "3_losses": "STEPS = 3",
    "4_results": """
TAUS = (0.1, 0.3)
LAYOUT = ("data.layout.num_train=1", "data.layout.num_val=0", "data.layout.num_test=1")
SMALL = ("trainer.max_epochs=2", "callbacks.ramp_up.t_max=1", "datamodule.steps_per_epoch=2",
         "trainer.log_every_n_steps=1", "datamodule.patch_size=[8,16,16]",
         "network.widths=[2,4,8]", "network.dropouts=[0.1,0.1]")
""",
}
"""By notebook, what a test runs after the cell tagged `parameters`, to take seconds."""


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def test_each_small_run_is_of_a_notebook() -> None:
    assert NOTEBOOKS
    assert set(SMALL) <= {path.stem for path in NOTEBOOKS}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_committed_without_outputs(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable.lower()))
    monkeypatch.setenv("LNQ_OUTPUTS", str(tmp_path / "outputs"))
    notebook = read(path)
    if path.stem in SMALL:
        (at,) = (
            n
            for n, cell in enumerate(notebook.cells)
            if "parameters" in cell.metadata.get("tags", ())
        )
        notebook.cells.insert(at + 1, nbformat.v4.new_code_cell(SMALL[path.stem]))
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    shown = {
        number: {kind for output in cell.get("outputs", ()) for kind in output.get("data", {})}
        for number, cell in enumerate(notebook.cells)
    }
    assert "image/png" in set.union(*shown.values())
    for number, cell in enumerate(notebook.cells):
        if "_figure(" in cell.source:  # one of lnq's
            assert "image/png" in shown[number]
