"""Promises of `bark_stream.int8_matrix`: bytes with a scale per row."""

from __future__ import annotations

import torch

from bark_stream.int8_matrix import Int8Matrix

SIZES = torch.tensor([[1e-3], [1], [50], [0], [2], [3]])
MATRIX = torch.randn(6, 40, generator=torch.Generator().manual_seed(0)) * SIZES


def test_int8_matrix_is_within_half_a_step() -> None:
    """Every value is at most half a step of its row away, and a row of zeros stays zero."""
    matrix = Int8Matrix.from_float(MATRIX)
    assert (matrix.to_float() - MATRIX).abs().le(matrix.scale[:, None] * 0.5001).all()
    assert not matrix.to_float()[3].any()


def test_int8_matrix_survives_the_way_through_floats() -> None:
    """What was int8 once is the same bytes when it is made int8 again."""
    matrix = Int8Matrix.from_float(MATRIX)
    again = Int8Matrix.from_float(matrix.to_float())
    assert torch.equal(again.values, matrix.values)
    torch.testing.assert_close(again.to_float(), matrix.to_float())
