"""A benchmark's figures as a table, as JSON and as a picture."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bark_stream.benchmark.alone import AloneFigures
from bark_stream.benchmark.machine import Machine
from bark_stream.benchmark.roofline import Roofline
from bark_stream.benchmark.together import TogetherFigures
from bark_stream.benchmark.transformers_bark import TransformersFigures
from bark_stream.errors import ConfigError


@dataclass(kw_only=True, slots=True)
class Report:
    machine: Machine
    model: str
    precision: str
    policies: dict[str, AloneFigures]
    roofline: Roofline
    together: list[TogetherFigures] = field(default_factory=list)
    against: TransformersFigures | None = None
    peak_bytes: int = 0
    """Of this process, before the other implementation was loaded."""
    device_peak_bytes: int | None = None
    """Of the GPU, where there is one."""

    @property
    def ratios(self) -> dict[str, float]:
        """How many times faster than the other implementation, where there is one."""
        if self.against is None:
            return {}
        streamed = self.policies["realtime"]
        return {"rtf": self.against.rtf / streamed.rtf, "ttfa": self.against.ttfa_ms / streamed.ttfa_p50_ms}


def print_report(report: Report, console: Console) -> None:
    machine = report.machine
    console.print(
        f"{machine.processor}, {machine.num_cores} cores, torch {machine.torch} on {machine.num_threads} threads, "
        f"commit {machine.commit}"
    )
    console.print(f"{report.model}, {report.precision}, peak memory {report.peak_bytes / 1e6:,.0f} MB")
    if machine.gpu is not None and report.device_peak_bytes is not None:
        console.print(f"{machine.gpu}, peak memory {report.device_peak_bytes / 1e6:,.0f} MB")
    console.print(_alone_table(report.policies))
    roof = report.roofline
    console.print(
        f"coarse: {roof.weight_bytes / 1e6:.1f} MB of weights a step at {roof.achieved_bytes_per_s / 1e9:.2f} GB/s; a "
        f"plain matrix-vector loop reaches {roof.plain_bytes_per_s / 1e9:.2f} GB/s: {roof.distance:.1f} x the roofline"
    )
    if report.together:
        console.print(_together_table(report.together))
    if report.against is not None:
        against = report.against
        console.print(
            f"transformers {against.version}: RTF {against.rtf:.2f}, first audio after {against.ttfa_ms:,.0f} ms; here "
            f"{report.ratios['rtf']:.1f} x as fast, first audio {report.ratios['ttfa']:.1f} x as soon"
        )


def write_json(report: Report, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**dataclasses.asdict(report), "ratios": report.ratios}, indent=2) + "\n")


def write_plot(report: Report, path: Path) -> None:
    """Where the time goes alone, and what company costs. Raises: ConfigError if matplotlib is not installed."""
    try:
        import matplotlib
    except ImportError as missing:
        raise ConfigError("--plot", "matplotlib is not installed: pip install matplotlib") from missing
    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.5))
    _plot_stages(left, report)
    _plot_streams(right, report.together)
    figure.suptitle(f"{report.model}, {report.precision}: {report.machine.processor}")
    figure.tight_layout()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    pyplot.close(figure)


def _alone_table(policies: dict[str, AloneFigures]) -> Table:
    table = Table("alone", *policies)
    rows = list(policies.values())
    table.add_row("audio of each run", *(f"{row.audio_s:.2f} s x {row.num_runs}" for row in rows))
    table.add_row("first audio p50", *(f"{row.ttfa_p50_ms:,.0f} ms" for row in rows))
    table.add_row("first audio p99", *(f"{row.ttfa_p99_ms:,.0f} ms" for row in rows))
    table.add_row("RTF", *(f"{row.rtf:.3f}" for row in rows))
    for stage in rows[0].tokens_per_s:
        shares = (f"{row.tokens_per_s[stage]:,.0f} /s ({100 * row.share[stage]:.0f} %)" for row in rows)
        table.add_row(stage, *shares)
    return table


def _together_table(levels: Sequence[TogetherFigures]) -> Table:
    table = Table("streams", *(str(level.num_streams) for level in levels))
    rows: dict[str, Any] = {
        "first audio p50": lambda level: f"{level.ttfa_p50_ms:,.0f} ms",
        "first audio p95": lambda level: f"{level.ttfa_p95_ms:,.0f} ms",
        "underruns heard": lambda level: str(level.num_underruns),
        "late / chunks": lambda level: f"{level.num_late} / {level.num_chunks}",
        "waited, worst": lambda level: f"{level.worst_underrun_ms:,.0f} ms",
        "audio / wall": lambda level: f"{level.audio_per_wall:.2f}",
        "mean batch, semantic": lambda level: f"{level.mean_batch['semantic']:.2f}",
        "mean batch, coarse": lambda level: f"{level.mean_batch['coarse']:.2f}",
    }
    for name, cell in rows.items():
        table.add_row(name, *(cell(level) for level in levels))
    return table


def _plot_stages(axes: Any, report: Report) -> None:
    for name, figures in report.policies.items():
        bottom = 0.0
        for stage, share in figures.share.items():
            axes.bar(name, share * figures.rtf, bottom=bottom, color=f"C{list(figures.share).index(stage)}")
            axes.text(name, bottom + share * figures.rtf / 2, stage, ha="center", va="center", color="white")
            bottom += share * figures.rtf
    if report.against is not None:
        axes.bar("transformers", report.against.rtf, color="grey")
    axes.axhline(1.0, linestyle="--", color="black")
    axes.set_ylabel("compute time / audio time")


def _plot_streams(axes: Any, levels: Sequence[TogetherFigures]) -> None:
    streams = [level.num_streams for level in levels]
    axes.plot(streams, [level.ttfa_p95_ms for level in levels], marker="o", label="first audio p95 [ms]")
    axes.plot(streams, [level.worst_underrun_ms for level in levels], marker="s", label="waited, worst [ms]")
    axes.set_xlabel("streams")
    axes.set_ylim(bottom=0)
    axes.legend()
