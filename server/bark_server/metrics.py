"""Prometheus metrics of one server, in a registry of their own: fed with notices, the engine is asked on reading."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from bark_server.limits import PACKET_MS
from bark_server.notices import (
    AudioSent,
    ContextCancelled,
    ContextDone,
    ContextOpened,
    ErrorSent,
    FirstAudio,
    Notice,
    Underrun,
)
from bark_server.speech import EngineStats

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_LATENCY_BUCKETS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 4.0, 8.0, 16.0)
_RTF_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 2.0, 4.0)
_LEAD_BUCKETS = (0.0, 0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8)
_LAG_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class Metrics:
    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._ttfa = Histogram(
            "bark_ttfa_seconds",
            "From the text that completed a context's first sentence to its first packet",
            buckets=_LATENCY_BUCKETS,
            registry=self.registry,
        )
        self._rtf = Histogram(
            "bark_rtf", "Compute time / audio time of a context", buckets=_RTF_BUCKETS, registry=self.registry
        )
        self._lead = Histogram(
            "bark_lead_seconds",
            "Audio sent and not yet heard, seen after each burst",
            buckets=_LEAD_BUCKETS,
            registry=self.registry,
        )
        self._underruns = Counter("bark_underruns", "Packets made after their playback time", registry=self.registry)
        self._audio = Counter("bark_audio_seconds", "Audio sent", registry=self.registry)
        self._bytes = Counter("bark_audio_bytes", "Audio frames sent, in bytes", registry=self.registry)
        self._opened = Counter("bark_contexts_opened", "Contexts opened", ["format"], registry=self.registry)
        self._ended = Counter("bark_contexts_ended", "Contexts over", ["how"], registry=self.registry)
        self._errors = Counter("bark_errors", "Error messages sent", ["code"], registry=self.registry)
        self._lag = Histogram(
            "bark_loop_lag_seconds", "Lateness of the event loop", buckets=_LAG_BUCKETS, registry=self.registry
        )

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """A value that is asked for when the metrics are read."""
        Gauge(name, text, registry=self.registry).set_function(value)

    def watch(self, stats: Callable[[], EngineStats]) -> None:
        """Show the engine's own totals."""
        self.registry.register(_EngineCollector(stats))

    def observe(self, notice: Notice) -> None:
        if isinstance(notice, AudioSent):
            self._audio.inc(notice.num_packets * PACKET_MS / 1000)
            self._bytes.inc(notice.num_bytes)
            self._lead.observe(notice.lead_s)
        elif isinstance(notice, FirstAudio):
            self._ttfa.observe(notice.ttfa_s)
        elif isinstance(notice, Underrun):
            self._underruns.inc()
        elif isinstance(notice, ContextOpened):
            self._opened.labels(notice.audio_format).inc()
        elif isinstance(notice, ContextDone):
            self._ended.labels("done").inc()
            if notice.rtf is not None:
                self._rtf.observe(notice.rtf)
        elif isinstance(notice, ContextCancelled):
            self._ended.labels("cancelled").inc()
        elif isinstance(notice, ErrorSent):
            self._errors.labels(notice.code).inc()

    def observe_lag(self, lag_s: float) -> None:
        self._lag.observe(lag_s)

    def exposition(self) -> bytes:
        """The text format that Prometheus reads."""
        return generate_latest(self.registry)


class _EngineCollector(Collector):
    def __init__(self, stats: Callable[[], EngineStats]) -> None:
        self._stats = stats

    def describe(self) -> Iterator[Metric]:
        """Nothing before the engine is asked."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        stats = self._stats()
        yield GaugeMetricFamily("bark_engine_streams", "Streams open in the engine", value=stats.num_streams)
        yield GaugeMetricFamily("bark_engine_running", "Sentences being spoken", value=stats.num_running)
        yield GaugeMetricFamily("bark_engine_queue", "Sentences waiting", value=stats.num_waiting)
        tokens = CounterMetricFamily("bark_stage_tokens", "Tokens or frames made", labels=["stage"])
        steps = CounterMetricFamily("bark_stage_steps", "Batched steps", labels=["stage"])
        seconds = CounterMetricFamily("bark_stage_seconds", "Time spent in steps", labels=["stage"])
        batch = GaugeMetricFamily("bark_stage_batch_size", "Tokens per step, mean since start", labels=["stage"])
        for stage, totals in stats.stages.items():
            tokens.add_metric([stage], totals.num_tokens)
            steps.add_metric([stage], totals.num_steps)
            seconds.add_metric([stage], totals.compute_s)
            batch.add_metric([stage], totals.num_tokens / max(1, totals.num_steps))
        yield from (tokens, steps, seconds, batch)
