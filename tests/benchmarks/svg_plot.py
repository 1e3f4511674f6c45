"""A small line plot as SVG: enough for a benchmark, no library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 640, 360, 64, 48, 36, 140
COLOURS = ("#2563eb", "#d97706", "#059669", "#dc2626")


@dataclass(frozen=True, slots=True)
class Line:
    name: str
    points: Sequence[tuple[float, float]]


def write_plot(path: Path, *, title: str, x_name: str, y_name: str, lines: Sequence[Line]) -> None:
    """Lines over a common x axis, both axes from zero."""
    x_max = max((x for line in lines for x, _ in line.points), default=1.0) or 1.0
    y_max = max((y for line in lines for _, y in line.points), default=1.0) or 1.0
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        return LEFT + x / x_max * (right - LEFT), bottom - y / y_max * (bottom - TOP)

    parts = [f'<text x="{LEFT}" y="20" font-weight="bold">{title}</text>']
    for step in range(5):
        value_x, value_y = x_max * step / 4, y_max * step / 4
        at_x, at_y = place(value_x, 0)[0], place(0, value_y)[1]
        parts.append(f'<line x1="{LEFT}" y1="{at_y:.1f}" x2="{right}" y2="{at_y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{at_y + 4:.1f}" text-anchor="end">{value_y:.4g}</text>')
        parts.append(f'<text x="{at_x:.1f}" y="{bottom + 18}" text-anchor="middle">{value_x:.4g}</text>')
    parts.append(f'<text x="{(LEFT + right) / 2}" y="{HEIGHT - 10}" text-anchor="middle">{x_name}</text>')
    parts.append(
        f'<text x="14" y="{(TOP + bottom) / 2}" transform="rotate(-90 14 {(TOP + bottom) / 2})">{y_name}</text>'
    )
    for number, line in enumerate(lines):
        colour, places = COLOURS[number % len(COLOURS)], [place(x, y) for x, y in line.points]
        corners = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
        parts.append(f'<polyline points="{corners}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in places]
        parts.append(f'<text x="{right + 12}" y="{TOP + 16 + 18 * number}" fill="{colour}">{line.name}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif"'
    path.write_text(f'{head} font-size="12"><rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n')
