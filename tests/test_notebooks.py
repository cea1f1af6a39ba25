"""Notebooks are committed with their outputs; these are small and what the code gives today."""

from __future__ import annotations

import base64
import io
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from PIL import Image
from support import REPOSITORY

sys.path.append(str(REPOSITORY / "docs_build"))
import run_notebooks

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
MAX_BYTES = 1_000_000
"""Of a notebook: a page to look at, not an archive of pictures."""
NUMBER = re.compile(r"[-+]?\d+(\.\d+)?(e[-+]?\d+)?")
ABSOLUTE = re.compile(r"(?<![\w<:/.])(/[\w.-]+){2,}|[A-Z]:\\\w")


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def texts(outputs: list[nbformat.NotebookNode]) -> Iterator[str]:
    """All that is said, without pictures."""
    for output in outputs:
        yield output.get("text", "")
        for kind, content in output.get("data", {}).items():
            if kind.startswith("text/"):
                yield content


def said(outputs: list[nbformat.NotebookNode]) -> list[str]:
    """What is printed and which kinds of things are shown; a table by its columns, no numbers."""
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    words = ["".join(NUMBER.sub("#", printed).split())]
    for output in outputs:
        if output.output_type == "stream":
            continue
        words.append(" ".join(sorted(output.data)))
        head = output.data.get("text/html", "").partition("</thead>")[0]
        words += re.findall(r"<th>([^<]*)</th>", head)
    return words


def test_each_small_run_is_of_a_notebook() -> None:
    assert NOTEBOOKS
    assert set(SMALL) <= {path.stem for path in NOTEBOOKS}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_committed_with_small_outputs_of_no_machine(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert sum(bool(cell.outputs) for cell in code) > len(code) / 2
    for output in (output for cell in code for output in cell.outputs):
        assert output.output_type != "error"
        assert output.get("name") != "stderr"
        assert not output.get("metadata")
        if "image/png" in output.get("data", {}):
            picture = Image.open(io.BytesIO(base64.b64decode(output.data["image/png"])))
            assert max(picture.size) <= 1600
    for text in (text for cell in code for text in texts(cell.outputs)):
        assert not ABSOLUTE.search(text), text
        assert socket.gethostname() not in text
    assert path.stat().st_size < MAX_BYTES
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    assert notebook.metadata.kernelspec.name == "python3"
    assert notebook.metadata.language_info == {"name": "python"}


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run_and_say_what_they_are_committed_with(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable.lower()))
    monkeypatch.delenv("LNQ_OUTPUTS", raising=False)
    notebook, committed = read(path), read(path)
    if path.stem in SMALL:
        (at,) = (
            n
            for n, cell in enumerate(notebook.cells)
            if "parameters" in cell.metadata.get("tags", ())
        )
        notebook.cells[at].source += "\n" + SMALL[path.stem]
    run_notebooks.run(notebook, tmp_path)
    run_notebooks.tidy(notebook)
    for fresh, kept in zip(notebook.cells, committed.cells, strict=True):
        if kept.cell_type == "code":
            assert said(fresh.outputs) == said(kept.outputs), (
                "its outputs are of other code: python docs_build/run_notebooks.py " + path.stem
            )
            if "_figure(" in kept.source:  # one of lnq's
                assert any("image/png" in output.get("data", {}) for output in fresh.outputs)
