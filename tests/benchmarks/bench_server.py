"""How many can listen? `make bench-server` measures the whole server, and its doors alone.

1. Doors: an engine that plays prepared audio, real sockets, real time. CPU of the server per stream.
2. Model: Poisson arrivals at 1, 2, 4 … listeners on average, until the first underrun. Audible TTFA, underruns.
3. Live text: the same with one word per 10 ms. Cancel: time to the answer, and until the engine has stopped.

Prints a table; writes it with a plot to `bench/`. Nothing is asserted.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks.load import Heard, Listener, Manner, poisson
from tests.benchmarks.svg_plot import Line, write_plot

REPOSITORY = Path(__file__).resolve().parents[2]
DOORS = REPOSITORY / "tests" / "server" / "serve_prepared.py"
MEAN_TURN_S = 4.0
"""Mean length of a turn, for the arrival rate that keeps N listeners on average; measured again from what was heard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One level of load."""

    what: str
    num_listeners: float
    num_requests: int = 0
    ttfa_p50_ms: float | None = None
    ttfa_p95_ms: float | None = None
    ttfa_p99_ms: float | None = None
    num_underruns: int = 0
    """Heard by listeners who start to play 80 ms after the first packet."""
    num_strict_underruns: int = 0
    """Heard by listeners who start at once."""
    worst_underrun_ms: float = 0.0
    num_listeners_with_underruns: int = 0
    num_refused: int = 0
    num_failed: int = 0
    lag_p99_ms: float | None = None
    server_cores: float | None = None


@dataclass(slots=True)
class ServerProcess:
    """A server in a process of its own."""

    process: asyncio.subprocess.Process
    port: int

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/v1/stream"

    def cpu_s(self) -> float:
        """CPU time so far, all threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def lag_buckets(self) -> dict[float, float]:
        """Cumulative counts of the event loop's lateness, by upper bound in seconds."""
        text = urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics").read().decode()
        lines = [line for line in text.splitlines() if line.startswith("bark_loop_lag_seconds_bucket")]
        return {float(line.split('"')[1]): float(line.rsplit(" ", 1)[1]) for line in lines}


@asynccontextmanager
async def serve(*command: str) -> AsyncIterator[ServerProcess]:
    """Run a server until the block is left; what it logs is read and dropped."""
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE, cwd=REPOSITORY)
    assert process.stderr is not None
    port = 0
    while line := await process.stderr.readline():
        event = json.loads(line) if line.startswith(b"{") else {"event": line.decode()}
        if event["event"] == "listening":
            port = int(event["url"].rsplit(":", 1)[1].split("/")[0])
        if event["event"] == "ready":
            break
    else:
        raise SystemExit(f"the server did not start: {' '.join(command)}")
    drain = asyncio.create_task(_drain(process.stderr))
    try:
        yield ServerProcess(process, port)
    finally:
        process.terminate()
        await process.wait()
        await drain


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.read(65_536):
        pass


def lag_p99_ms(before: dict[float, float], after: dict[float, float]) -> float | None:
    """Upper bound of the bucket that holds the 99th percentile."""
    total = max(after.values()) - max(before.values())
    bounds = [bound for bound in sorted(after) if total and after[bound] - before[bound] >= 0.99 * total]
    return bounds[0] * 1000 if bounds else None


def percentile(values: Sequence[float], percent: int) -> float | None:
    if not values:
        return None
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


async def measure_doors(num_streams: int, audio_format: str, seconds: float) -> Row:
    """`num_streams` sockets that each hear one long turn in real time; CPU of the server in the middle of it."""
    limits = {
        "max_contexts": num_streams,
        "max_connections": num_streams,
        "max_unacknowledged_bytes": 1 << 20,
        "replay_bytes": 1 << 20,
        "overload_ms": 0,
    }
    async with serve(sys.executable, str(DOORS), json.dumps({"speed": None, "limits": limits})) as server:
        listeners = [Listener(24_000) for _ in range(num_streams)]
        for listener in listeners:
            listener._audible_samples = 0
        tasks = [asyncio.create_task(_listen_long(server.url, audio_format, item)) for item in listeners]
        await asyncio.sleep(4.0)
        before_s, lag, packets = server.cpu_s(), server.lag_buckets(), sum(x.heard.num_packets for x in listeners)
        dry = [x.heard.num_underruns for x in listeners]
        started_s = time.perf_counter()
        await asyncio.sleep(seconds)
        wall_s = time.perf_counter() - started_s
        dry = [x.heard.num_underruns - num for x, num in zip(listeners, dry, strict=True)]
        cores = (server.cpu_s() - before_s) / wall_s
        num_heard = (sum(x.heard.num_packets for x in listeners) - packets) * 0.02 / wall_s
        row = Row(
            what=f"doors, {audio_format}",
            num_listeners=round(num_heard, 1),
            num_requests=num_streams,
            num_underruns=sum(dry),
            num_listeners_with_underruns=sum(num > 0 for num in dry),
            lag_p99_ms=lag_p99_ms(lag, server.lag_buckets()),
            server_cores=round(cores, 3),
        )
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return row


async def _listen_long(url: str, audio_format: str, listener: Listener) -> None:
    from websockets.asyncio.client import connect

    # Spread over a packet's time, as listeners who know nothing of each other are.
    await asyncio.sleep(random.random())
    async with connect(url, compression=None, max_queue=None) as client:
        await client.send(json.dumps({"type": "open", "context": "a", "format": audio_format}))
        for _ in range(10):
            text = "This sentence goes on for a while so that there is enough to hear. "
            await client.send(json.dumps({"type": "text", "context": "a", "text": text}))
        async for frame in client:
            if isinstance(frame, bytes):
                listener.packet(frame, time.perf_counter())


async def measure_model(
    server: ServerProcess, what: str, num_listeners: int, seconds: float, manner: Manner, turn_s: float
) -> tuple[Row, list[Heard]]:
    """Poisson arrivals that keep `num_listeners` listening on average."""
    before, before_s, started_s = server.lag_buckets(), server.cpu_s(), time.perf_counter()
    heard = await poisson(
        server.url, _texts(), rate_per_s=num_listeners / turn_s, seconds=seconds, manner=manner, seed=num_listeners
    )
    wall_s = time.perf_counter() - started_s
    ttfas_ms = [item.ttfa_s * 1000 for item in heard if item.ttfa_s is not None]
    refusals = ("overloaded", "too_many_contexts")
    row = Row(
        what=what,
        num_listeners=num_listeners,
        num_requests=len(heard),
        ttfa_p50_ms=percentile(ttfas_ms, 50),
        ttfa_p95_ms=percentile(ttfas_ms, 95),
        ttfa_p99_ms=percentile(ttfas_ms, 99),
        num_underruns=sum(item.num_underruns for item in heard),
        num_strict_underruns=sum(item.num_strict_underruns for item in heard),
        worst_underrun_ms=round(max((item.late_s * 1000 for item in heard), default=0.0), 1),
        num_listeners_with_underruns=sum(item.num_underruns > 0 for item in heard),
        num_refused=sum(item.error in refusals for item in heard),
        num_failed=sum(item.error is not None and item.error not in refusals for item in heard),
        lag_p99_ms=lag_p99_ms(before, server.lag_buckets()),
        server_cores=round((server.cpu_s() - before_s) / wall_s, 3),
    )
    return row, heard


def measure_cancel(model: str, num_slots: int, num_rounds: int = 20) -> list[float]:
    """Seconds from `cancel` until the engine makes no further step, with all slots speaking."""
    from bark_stream.bark import load
    from bark_stream.engine import Engine
    from bark_stream.sentences import Sentence

    engine = Engine(load(model, num_slots=num_slots))
    chance, stopped_s = random.Random(0), []

    def num_steps() -> int:
        return sum(stage.num_steps for stage in engine.stats().stages.values())

    for _ in range(num_rounds):
        streams = [engine.open(on_event=lambda event: None) for _ in range(num_slots)]
        for stream in streams:
            text = chance.choice(_texts())
            stream.say(Sentence(0, text, text, 0))
        time.sleep(0.1 + 0.4 * chance.random())
        cancelled_s = last_s = time.perf_counter()
        for stream in streams:
            stream.close()
        steps = num_steps()
        while time.perf_counter() < cancelled_s + 0.3:
            time.sleep(0.0005)
            if (now_steps := num_steps()) != steps:
                steps, last_s = now_steps, time.perf_counter()
        stopped_s.append(last_s - cancelled_s)
    engine.close()
    return stopped_s


def _texts() -> list[str]:
    path = files("bark_stream") / "assets" / "held_out_sentences.txt"
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


async def run(arguments: argparse.Namespace, console: Console) -> dict[str, Any]:
    rows: list[Row] = []
    for audio_format in ("opus", "pcm_s16le"):
        row = await measure_doors(arguments.door_streams, audio_format, arguments.seconds / 3)
        rows.append(row)
        console.print(f"{row.what}: {row.num_listeners / max(row.server_cores or 0, 1e-9):.0f} streams per core")
    cancels_s: list[float] = []
    if not arguments.doors_only:
        command = [sys.executable, "-m", "bark_stream", "serve", "--port", "0", "--model", arguments.model]
        command += ["--num-slots", str(arguments.num_slots), "--max-contexts", "512"]
        async with serve(*command) as server:
            turn_s = await _mean_turn_s(server)
            for what, manner in (("text at once", Manner()), ("word per 10 ms", Manner(word_pause_s=0.01))):
                await _climb(server, what, manner, turn_s, arguments, rows, console)
            _, heard = await measure_model(server, "", 2, arguments.seconds / 2, Manner(cancel_after_s=0.3), 1.0)
            cancels_s = [item.cancel_s for item in heard if item.cancel_s is not None]
    stops_s = [] if arguments.doors_only else measure_cancel(arguments.model, arguments.num_slots)
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "commit": _commit(),
        "model": arguments.model,
        "rows": [asdict(row) for row in rows],
        "cancel_answer_ms": _spread_ms(cancels_s),
        "cancel_engine_stopped_ms": _spread_ms(stops_s),
    }


async def _climb(
    server: ServerProcess,
    what: str,
    manner: Manner,
    turn_s: float,
    arguments: argparse.Namespace,
    rows: list[Row],
    console: Console,
) -> None:
    """Twice as many listeners each time, until one of them runs dry."""
    num_listeners = 1
    while num_listeners <= arguments.max_listeners:
        row, _ = await measure_model(server, what, num_listeners, arguments.seconds, manner, turn_s)
        rows.append(row)
        console.print(row)
        if row.num_underruns or row.num_refused:
            return
        num_listeners *= 2


async def _mean_turn_s(server: ServerProcess) -> float:
    """How long a turn lasts with this model."""
    heard = await poisson(server.url, _texts(), rate_per_s=0.5, seconds=12, manner=Manner(), seed=0)
    lengths = [item.audio_s for item in heard if item.audio_s]
    return statistics.mean(lengths) if lengths else MEAN_TURN_S


def _spread_ms(values_s: Sequence[float]) -> dict[str, float] | None:
    if not values_s:
        return None
    p50, p99 = percentile(values_s, 50), percentile(values_s, 99)
    return {"p50": round((p50 or 0) * 1000, 1), "p99": round((p99 or 0) * 1000, 1), "num": len(values_s)}


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False).stdout.strip()


def _table(rows: Sequence[dict[str, Any]]) -> Table:
    table = Table(title="The server under load")
    names = {
        "what": "what",
        "num_listeners": "listeners",
        "num_requests": "turns",
        "ttfa_p50_ms": "TTFA p50 ms",
        "ttfa_p95_ms": "p95",
        "ttfa_p99_ms": "p99",
        "num_underruns": "underruns",
        "num_strict_underruns": "strict",
        "worst_underrun_ms": "worst ms",
        "num_listeners_with_underruns": "ran dry",
        "num_refused": "refused",
        "num_failed": "failed",
        "lag_p99_ms": "loop lag p99 ≤ ms",
        "server_cores": "cores",
    }
    for title in names.values():
        table.add_column(title, justify="left" if title == "what" else "right")
    for row in rows:
        table.add_row(*(_cell(row[name]) for name in names))
    return table


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return (
        f"{value:.0f}" if isinstance(value, float) and value >= 10 else f"{value:g}" if value != str(value) else value
    )


def _plot(path: Path, rows: Sequence[dict[str, Any]]) -> None:
    lines = []
    for what in dict.fromkeys(row["what"] for row in rows if row["ttfa_p50_ms"] is not None):
        chosen = [row for row in rows if row["what"] == what]
        for name in ("p50", "p95"):
            points = [(row["num_listeners"], row[f"ttfa_{name}_ms"]) for row in chosen if row["ttfa_p50_ms"]]
            lines.append(Line(f"{what}, {name}", points))
    if lines:
        write_plot(path, title="Audible TTFA", x_name="listeners on average", y_name="ms", lines=lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="mini")
    parser.add_argument("--num-slots", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=30.0, help="of arrivals at each level (%(default)s)")
    parser.add_argument("--max-listeners", type=int, default=64)
    parser.add_argument("--door-streams", type=int, default=100)
    parser.add_argument("--doors-only", action="store_true")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "bench")
    arguments = parser.parse_args()
    console = Console(width=150)
    result = asyncio.run(run(arguments, console))
    arguments.output.mkdir(exist_ok=True)
    (arguments.output / "server.json").write_text(json.dumps(result, indent=2) + "\n")
    _plot(arguments.output / "server.svg", result["rows"])
    console.print({name: value for name, value in result.items() if name != "rows"})
    console.print(_table(result["rows"]))


if __name__ == "__main__":
    main()
