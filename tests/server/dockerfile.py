"""The steps of the Dockerfile, read and run without Docker: the build stage in a plain folder that stands for `/`.

    python tests/server/dockerfile.py FOLDER [ARG=VALUE ...]

That makes no image; but every COPY finds its files, every RUN its commands, and what is installed can be tried.
"""

from __future__ import annotations

import fnmatch
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
ROOTED = re.compile(r"(?<![\w.:/])/(opt|src|models)\b")
"""Paths of the image in a command."""


@dataclass(frozen=True, slots=True)
class Step:
    stage: int
    """0 for the first FROM."""
    name: str
    """FROM, RUN, COPY …"""
    value: str


def read_steps(path: Path = REPOSITORY / "Dockerfile") -> list[Step]:
    """Instructions in order; continued lines are one, comments are gone."""
    text = re.sub(r"^#.*\n", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    steps: list[Step] = []
    stage = -1
    for line in re.sub(r"\\\n", " ", text).splitlines():
        name, _, value = line.strip().partition(" ")
        if not name:
            continue
        stage += name == "FROM"
        steps.append(Step(stage, name, value.strip()))
    return steps


def context_files(repository: Path = REPOSITORY) -> list[Path]:
    """What `docker build` may copy: the files that git knows and .dockerignore lets through (folders named whole)."""
    ignore = [line for line in (repository / ".dockerignore").read_text().split() if line]
    let_in = [pattern[1:] for pattern in ignore if pattern.startswith("!")]
    kept_out = [pattern.removeprefix("**/") for pattern in ignore if not pattern.startswith("!") and pattern != "**"]
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=repository, check=True, capture_output=True, text=True).stdout.splitlines()
    return [
        Path(name)
        for name in listed
        if any(name == entry or name.startswith(entry + "/") for entry in let_in)
        and not any(fnmatch.fnmatch(part, pattern) for part in Path(name).parts for pattern in kept_out)
    ]


def build(root: Path, arguments: dict[str, str]) -> None:
    """Run the first stage below `root`. Raises: CalledProcessError, FileNotFoundError."""
    files, environment, folder = context_files(), dict(os.environ), root
    for step in read_steps():
        if step.stage > 0:
            break
        if step.name == "ARG":
            name, _, default = step.value.partition("=")
            environment[name] = arguments.get(name, default.strip('"'))
        elif step.name == "ENV":
            environment |= dict(pair.split("=", 1) for pair in step.value.split())
        elif step.name == "WORKDIR":
            folder = root / step.value.lstrip("/")
            folder.mkdir(parents=True, exist_ok=True)
        elif step.name == "COPY":
            *sources, target = step.value.split()
            for source in sources:
                _copy(source, _placed(target, root, folder), files, is_folder=target.endswith("/"))
        elif step.name == "RUN":
            command = ROOTED.sub(rf"{root}/\1", step.value)
            print("RUN", command, flush=True)
            subprocess.run(["/bin/bash", "-o", "pipefail", "-c", command], cwd=folder, env=environment, check=True)


def _placed(target: str, root: Path, folder: Path) -> Path:
    return root / target.lstrip("/") if target.startswith("/") else folder / target


def _copy(source: str, target: Path, files: list[Path], *, is_folder: bool) -> None:
    chosen = [path for path in files if path == Path(source) or Path(source) in path.parents]
    if not chosen:
        raise FileNotFoundError(f"COPY {source}: nothing of it is in the build's context")
    for path in chosen:
        place = target / path.name if is_folder else target / path.relative_to(source)
        place = target if path == Path(source) and not is_folder else place
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(REPOSITORY / path, place)


if __name__ == "__main__":
    build(Path(sys.argv[1]).resolve(), dict(argument.split("=", 1) for argument in sys.argv[2:]))
