"""The notebooks: whole, without stored outputs, and every cell of them runs."""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "clients" / "notebooks"
NOTEBOOKS = sorted(path.stem for path in FOLDER.glob("*.ipynb"))


def read(name: str) -> nbformat.NotebookNode:
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def test_notebooks_are_there() -> None:
    """First steps, a server, a voice of one's own, long texts."""
    assert NOTEBOOKS == ["cloning", "long_text", "quick_start", "streaming"]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_is_kept_without_outputs(name: str) -> None:
    """Valid, code that parses, and nothing of anybody's last run."""
    notebook = read(name)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            compile(cell.source, name, "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            assert cell.outputs == []
            assert cell.execution_count is None


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_notebook_runs_from_top_to_bottom(name: str) -> None:
    """No cell raises, and each notebook ends with something to hear or read."""
    nbclient = pytest.importorskip("nbclient")
    notebook = read(name)
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(FOLDER)}}).execute()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    kinds = {kind for output in shown for kind in output.get("data", {})}
    assert "text/html" in kinds  # a player
    assert not [output for output in shown if output.output_type == "error"]
