"""The metrics that Prometheus reads."""

from __future__ import annotations

from dataclasses import dataclass

from bark_server.metrics import Metrics
from bark_server.notices import AudioSent, ContextCancelled, ContextDone, ContextOpened, ErrorSent, FirstAudio, Underrun
from bark_server.prepared import PreparedStats


@dataclass
class _Totals:
    num_tokens: int
    num_steps: int
    compute_s: float


def test_metrics_count_what_happened() -> None:
    """Each notice has its metric."""
    metrics = Metrics()
    for notice in (
        ContextOpened(1, "opus"),
        FirstAudio(1, 0.12),
        AudioSent(5, 500, 0.4),
        Underrun(1),
        ErrorSent("bad_json"),
        ContextDone(1, 2.0, 1, 0.5),
        ContextCancelled(2, 1.0, 0.5),
    ):
        metrics.observe(notice)
    metrics.observe_lag(0.003)
    metrics.gauge("bark_contexts", "Contexts", lambda: 3)
    text = metrics.exposition().decode()
    for line in (
        'bark_contexts_opened_total{format="opus"} 1.0',
        "bark_ttfa_seconds_sum 0.12",
        "bark_audio_seconds_total 0.1",
        "bark_audio_bytes_total 500.0",
        "bark_underruns_total 1.0",
        'bark_errors_total{code="bad_json"} 1.0',
        'bark_contexts_ended_total{how="done"} 1.0',
        'bark_contexts_ended_total{how="cancelled"} 1.0',
        "bark_rtf_sum 0.5",
        "bark_lead_seconds_sum 0.4",
        'bark_loop_lag_seconds_bucket{le="0.005"} 1.0',
        "bark_contexts 3.0",
    ):
        assert line in text


def test_metrics_show_the_engines_stages() -> None:
    """Tokens, steps, seconds and batch size of each stage are read from the engine when asked for."""
    metrics = Metrics()
    metrics.watch(lambda: PreparedStats(3, 2, 1, {"semantic": _Totals(num_tokens=80, num_steps=20, compute_s=1.5)}))
    text = metrics.exposition().decode()
    assert 'bark_stage_tokens_total{stage="semantic"} 80.0' in text
    assert 'bark_stage_batch_size{stage="semantic"} 4.0' in text
    assert "bark_engine_queue 1.0" in text


def test_metrics_of_two_servers_are_apart() -> None:
    """Each server has its own registry."""
    first, second = Metrics(), Metrics()
    first.observe(Underrun(1))
    assert "bark_underruns_total 0.0" in second.exposition().decode()
