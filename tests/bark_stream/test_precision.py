"""Promises of `bark_stream.precision`: what is asked for is what one gets, or an error."""

from __future__ import annotations

import pytest
import torch

from bark_stream.errors import ConfigError
from bark_stream.precision import resolve_precision


@pytest.mark.parametrize(("name", "precision"), [("float32", "float32"), ("int8", "int8"), ("auto", "int8")])
def test_resolve_precision_of_a_name(name: str, precision: str) -> None:
    """Names mean themselves; `auto` is what was fastest wherever it was measured."""
    assert resolve_precision(name) == precision


def test_resolve_precision_refuses_what_is_unknown() -> None:
    """The error names the choices."""
    with pytest.raises(ConfigError, match="auto, float32, bfloat16, int8"):
        resolve_precision("int3")


def test_resolve_precision_bfloat16_needs_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """An imitated bfloat16 would be slower than float32, so it is refused."""
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    with pytest.raises(ConfigError, match="bfloat16 needs"):
        resolve_precision("bfloat16")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    assert resolve_precision("bfloat16") == "bfloat16"
