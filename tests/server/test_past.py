"""What is kept of contexts that are over."""

from __future__ import annotations

from bark_server.past import MAX_ENDED, MAX_REMEMBERED, Ended, PastContexts
from bark_server.transcript import Transcript


def _transcript(text: str) -> Transcript:
    transcript = Transcript(rate_hz=24_000)
    transcript.add(text)
    return transcript


def test_recall_knows_a_finished_context_once() -> None:
    """Stream, text and length of what was spoken to its end, for one late interruption."""
    past = PastContexts()
    past.finish("a", 7, _transcript("Hello."), 480)
    number, transcript, num_samples = past.recall("a") or (0, None, 0)
    assert transcript is not None
    assert (number, transcript.text, num_samples) == (7, "Hello.", 480)
    assert past.recall("a") is None


def test_recall_knows_the_newest_few() -> None:
    """Texts are kept of so many contexts and no more."""
    past = PastContexts()
    for number in range(MAX_REMEMBERED + 1):
        past.finish(f"c{number}", number, _transcript("x"), 1)
    assert past.recall("c0") is None
    assert past.recall("c1") is not None


def test_reopen_forgets_the_former_text() -> None:
    """A name that is taken again means the new context."""
    past = PastContexts()
    past.finish("a", 1, _transcript("x"), 1)
    past.reopen("a")
    assert past.recall("a") is None


def test_streams_are_forgotten_when_their_name_ends_again_or_many_others_have() -> None:
    """Whoever keeps books by stream learns which ones nobody will ask for."""
    past = PastContexts()
    assert past.cancel("a", 1) == []
    assert past.cancel("a", 2) == [1]
    forgotten = [number for k in range(MAX_ENDED) for number in past.cancel(f"c{k}", 10 + k)]
    assert forgotten == [2]
    assert dict(past)["c0"] == Ended(10, is_cancelled=True)
