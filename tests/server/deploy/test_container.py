"""The container's files: what can be known of them without building one."""

from __future__ import annotations

import argparse
import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from bark_server.config import PREFIX, add_arguments
from dockerfile import REPOSITORY, context_files, read_steps

HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent)) or shutil.which("hadolint")


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed")
def test_dockerfile_is_clean() -> None:
    """The linter has nothing to say."""
    result = subprocess.run([str(HADOLINT), "Dockerfile"], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (0, "")


def test_image_runs_without_root_and_says_how_it_is() -> None:
    """The last stage ends as a numbered user who is not root, with a health check, a port and the models' volume."""
    steps = read_steps()
    last = {step.name: step.value for step in steps if step.stage == steps[-1].stage}
    assert int(last["USER"]) > 0
    assert "healthcheck.py" in last["HEALTHCHECK"]
    assert last["VOLUME"] == "/models"
    assert last["EXPOSE"] == "8765"
    assert ast.literal_eval(last["ENTRYPOINT"]) == ["bark-stream"]


def test_build_downloads_packages_and_nothing_else() -> None:
    """No ADD of addresses, no curl, wget, git or model downloads: only pip."""
    steps = read_steps()
    assert not any(step.name == "ADD" for step in steps)
    commands = " ".join(step.value for step in steps if step.name == "RUN")
    assert not any(word in commands for word in ("curl", "wget", "git ", "apt", "fetch", "://"))
    assert "pip install" in commands


def test_context_holds_what_is_copied_and_no_more() -> None:
    """Sources and the packaged model; no tests, no history, no environments."""
    files = context_files()
    for step in read_steps():
        if step.name == "COPY" and not step.value.startswith("--from"):
            for source in step.value.split()[:-1]:
                assert any(path == Path(source) or Path(source) in path.parents for path in files), source
    assert not any(path.parts[0] in ("tests", ".git", ".venv") for path in files)
    assert any(path.parts[:3] == ("bark_stream", "assets", "mini") for path in files)


def test_compose_names_files_and_settings_that_exist() -> None:
    """Each mounted file is there, each variable is one that the server reads, every port stays on the loopback."""
    compose = yaml.safe_load((REPOSITORY / "compose.yaml").read_text(encoding="utf-8"))
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    known = {PREFIX + action.dest.upper() for action in parser._actions} | {PREFIX + "API_KEYS"}
    assert set(compose["services"]["bark"]["environment"]) <= known
    for name, service in compose["services"].items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in compose["volumes"] or (REPOSITORY / source).exists(), (name, source)
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
