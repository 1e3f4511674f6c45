"""`bark-stream serve`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from bark_stream.cli import main


def test_serve_help_names_its_flags(capsys: pytest.CaptureFixture[str]) -> None:
    """Host, port, keys, limits, TLS and windows can all be set."""
    with pytest.raises(SystemExit):
        main(["serve", "--help"])
    text = capsys.readouterr().out
    for flag in ("--host", "--port", "--model", "--api-keys-file", "--allow-origin", "--tls-cert", "--max-contexts"):
        assert flag in text


def test_serve_with_a_bad_setting_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """A setting that cannot be right is named, with exit code 2, before anything is loaded."""
    assert main(["serve", "--port", "99999"]) == 2
    assert capsys.readouterr().err == "bark-stream: port: must be 0 … 65535, not 99999\n"


def test_serve_without_its_libraries_says_what_to_install() -> None:
    """The extra is named instead of a traceback."""
    code = (
        "import sys\n"
        "sys.modules['websockets'] = None\n"
        "from bark_stream.cli import main\n"
        "sys.exit(main(['serve', '--port', '0']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "bark-stream[serve]" in done.stderr
    assert "Traceback" not in done.stderr
