"""Runs the notebooks from top to bottom and keeps their outputs, small and the same everywhere.

    python docs_build/run_notebooks.py [NAME ...]

They are committed with what they show, so that they can be read without running anything; tests
run them again, smaller, and hold what they say against it.
"""

from __future__ import annotations

import base64
import io
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from PIL import Image

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
COLOURS = 256
"""Of a picture's palette, chosen so that thin lines keep their hue."""


def run(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Runs a notebook in a folder, in which its own output goes to `outputs`.

    Args:
        notebook: Gets its outputs.
        folder: Where it runs.
    """
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(
        notebook, timeout=1800, kernel_name="python3", resources=resources, record_timing=False
    ).execute()


def tidy(notebook: nbformat.NotebookNode) -> None:
    """Makes pictures small, and takes out what differs from machine to machine."""
    for cell in notebook.cells:
        outputs = cell.get("outputs", [])
        # Warnings of an environment, with its paths.
        outputs[:] = [output for output in outputs if output.get("name") != "stderr"]
        for output in outputs:
            output.get("metadata", {}).clear()
            if "image/png" in output.get("data", {}):
                output.data["image/png"] = _small(output.data["image/png"])
    notebook.metadata.language_info = {"name": "python"}


def _small(png: str) -> str:
    picture = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB")
    palette = picture.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    palette.save(buffer, "PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def main(names: list[str]) -> None:
    """Runs the named notebooks, or all."""
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        if names and path.stem not in names:
            continue
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            run(notebook, Path(folder))
        tidy(notebook)
        nbformat.write(notebook, path)


if __name__ == "__main__":
    main(sys.argv[1:])
