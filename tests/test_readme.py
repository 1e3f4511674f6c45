"""Promises of README.md: the tree is the tree, and the examples run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")


def test_readme_tree_names_every_engine_module() -> None:
    """Each module of the engine has its line in the tree, and each line is a module that exists."""
    tree = re.search(r"^bark_stream/ .*?^server/", README, re.MULTILINE | re.DOTALL)
    assert tree is not None
    named = set(re.findall(r"^  (\w+\.py|\w+)/? ", tree.group(), re.MULTILINE))
    package = REPOSITORY / "bark_stream"
    present = {path.name for path in package.glob("*.py") if not path.name.startswith("__")}
    present |= {path.parent.name for path in package.glob("*/__init__.py")}
    assert present - named == set()
    assert named - present <= {"assets"}


@pytest.mark.parametrize("code", re.findall(r"```python\n(.*?)```", README, re.DOTALL))
def test_readme_example_runs(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the README shows of the library runs as it stands, with the built-in model."""
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
