"""The report: one page of tables, the same figures as JSON. Knows nothing of how they came about."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.listening.expression import Effect
from tests.listening.measured import Row, Summary
from tests.listening.voices import LongText, VoiceFigures


@dataclass(frozen=True, slots=True)
class Report:
    model: str
    summaries: list[Summary]
    rows: list[Row]
    voices: list[VoiceFigures]
    num_different_voices: int
    long_texts: dict[str, list[LongText]]
    """By voice."""
    effects: list[Effect]


def write(report: Report, folder: Path) -> None:
    """`report.md` and `report.json`."""
    (folder / "report.json").write_text(json.dumps(dataclasses.asdict(report), indent=1) + "\n", "utf-8")
    (folder / "report.md").write_text("\n".join(_lines(report)) + "\n", "utf-8")


def _lines(report: Report) -> list[str]:
    lines = [f"# Listening to {report.model}", "", "## Stage by stage", ""]
    lines += _table(
        ["made", "clips", "word errors", "like the prompt", "longest silence", "loudness", "at frame rate",
         "seam / elsewhere (level)", "seam / elsewhere (step)", "guarded", "TTFA", "RTF"],
        [[s.made, s.num_clips, f"{100 * s.word_error_rate:.1f} %", f"{s.similarity:.2f}",
          f"{s.longest_silence_s:.2f} s", f"{s.loudness_db:.1f} dB", f"{100 * s.frame_rate_share:.0f} %",
          _pair(s.seam_jump_db, s.other_jump_db, "dB"),
          _pair(s.seam_step, s.other_step, ""), s.num_guarded, _seconds(s.ttfa_s), _number(s.rtf)]
         for s in report.summaries],
    )  # fmt: skip
    lines += ["", f"## Voices: {report.num_different_voices} clearly different", ""]
    lines += _table(
        ["voice", "pitch", "most like", "similarity"],
        [[v.name, f"{v.pitch_hz:.0f} Hz", v.nearest, f"{v.similarity_to_nearest:.2f}"] for v in report.voices],
    )
    lines += ["", "## Long texts", ""]
    lines += _table(
        ["voice", "texts", "first to last sentence", "any two", "like the prompt", "word errors"],
        [[name, len(texts), *(f"{_mean(texts, of):.2f}" for of in ("first_to_last", "any_two", "to_prompt")),
          f"{sum(t.num_errors for t in texts)} of {sum(t.num_words for t in texts)}"]
         for name, texts in report.long_texts.items()],
    )  # fmt: skip
    lines += ["", "## Marks", ""]
    lines += _table(
        ["mark", "text", "its tokens", "length", "without", "louder", "pitch", "more silence"],
        [[e.mark, e.text, "" if e.share_of_sound_tokens is None else f"{100 * e.share_of_sound_tokens:.0f} %",
          f"{e.audio_s:.2f} s", f"{e.plain_s:.2f} s", f"{e.loudness_change_db:+.1f} dB", f"× {e.pitch_change:.2f}",
          f"{e.silence_change_s:+.2f} s"] for e in report.effects],
    )  # fmt: skip
    lines += ["", "## Heard", ""]
    lines += _table(
        ["made", "voice", "text", "heard", "errors"],
        [[r.made, r.speaker, r.text, r.heard, f"{r.num_errors} of {r.num_words}"] for r in report.rows],
    )
    return lines


def _table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    cells = [[str(cell).replace("|", "/") for cell in row] for row in rows]
    return ["| " + " | ".join(row) + " |" for row in [list(names), ["---"] * len(names), *cells]]


def _mean(texts: Sequence[LongText], of: str) -> float:
    return sum(getattr(text, of) for text in texts) / max(1, len(texts))


def _pair(seam: float | None, other: float, unit: str) -> str:
    return "" if seam is None else f"{seam:.2g} / {other:.2g} {unit}".strip()


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} s"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
