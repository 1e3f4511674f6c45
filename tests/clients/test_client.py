"""The Python client against the real server, over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bark_client import (
    Backoff,
    BarkClient,
    Cancelled,
    ConnectionFailed,
    ConnectionLost,
    Context,
    Done,
    GenerationFailed,
    Overloaded,
    RequestRejected,
    ResumeExpired,
    Sentence,
    ServerBusy,
    Unauthorized,
    Words,
)
from bark_client.context import Say
from bark_client.messages import PROTOCOL, Open
from bark_client.session import ContextRecord
from bark_server.app import BarkServer
from bark_server.limits import Limits
from breaking_proxy import BreakingProxy
from prepared_server import Serve, tones
from websockets.asyncio.server import ServerConnection
from websockets.asyncio.server import serve as serve_sockets
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

TEXT = "Good evening, and welcome. How was your journey? Sit down by the fire, the soup is nearly ready."
QUICK = Backoff(first_s=0.01, max_s=0.05, total_s=5.0)


async def slices(text: str, size: int = 3) -> AsyncIterator[str]:
    for start in range(0, len(text), size):
        yield text[start : start + size]
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0)


async def payloads(context: Context) -> list[bytes]:
    return [packet.payload async for packet in context]


async def test_speak_text_gives_gapless_packets_with_captions(url: str) -> None:
    """Sequence numbers and timestamps have no gap; captions repeat the text; `done` says how long it is."""
    async with BarkClient(url) as client:
        speech = client.speak(TEXT, max_lead_ms=0)
        packets = [packet async for packet in speech]
    assert [packet.sequence for packet in packets] == list(range(len(packets)))
    assert [packet.timestamp for packet in packets] == [480 * number for number in range(len(packets))]
    assert [packet.is_last for packet in packets] == [False] * (len(packets) - 1) + [True]
    captions = [caption for packet in packets for caption in packet.captions]
    assert "".join(caption.text for caption in captions if isinstance(caption, Sentence)) == TEXT
    words = [word.text for caption in captions if isinstance(caption, Words) for word in caption.words]
    assert words == TEXT.split()
    assert speech.done is not None
    assert speech.done.sentences == sum(packet.starts_sentence for packet in packets) == 3
    assert speech.is_over


async def test_speak_iterator_says_the_same_as_the_whole_text(url: str) -> None:
    """How text is sliced on its way changes nothing."""
    async with BarkClient(url) as client:
        whole = await payloads(client.speak(TEXT, max_lead_ms=0))
        assert await payloads(client.speak(slices(TEXT), max_lead_ms=0)) == whole
        assert await payloads(client.speak(list(TEXT), max_lead_ms=0)) == whole


@pytest.mark.parametrize("audio_format", ["opus", "pcm_s16le"])
async def test_pcm_is_complete_to_the_sample(url: str, audio_format: str) -> None:
    """Without the encoder's delay and the last packet's padding, what is heard is what the engine made."""
    async with BarkClient(url) as client:
        speech = client.speak(TEXT, format=audio_format, max_lead_ms=0)  # type: ignore[arg-type]
        pcm = np.concatenate([block async for block in speech.pcm()])
    assert speech.done is not None
    assert len(pcm) == speech.done.audio_samples
    expected = np.resize(tones(), len(pcm))
    assert np.corrcoef(pcm, expected)[0, 1] > 0.98
    if audio_format == "pcm_s16le":
        np.testing.assert_allclose(pcm, expected, atol=2 / 32768)


async def test_several_contexts_share_one_socket(url: str) -> None:
    """Speakers side by side each get their own audio, and one that is refused harms no other."""
    texts = [f"{TEXT} Number {number}." for number in range(6)]
    async with BarkClient(url) as client:
        speeches = [
            client.speak(text, voice=["prepared", "other"][number % 2], max_lead_ms=0)
            for number, text in enumerate(texts)
        ]
        refused = client.speak(TEXT, voice="nobody")
        with pytest.raises(RequestRejected) as caught:
            await payloads(refused)
        assert caught.value.server_code == "unknown_voice"
        results = await asyncio.gather(*(payloads(speech) for speech in speeches))
    assert len({speech.opened.stream for speech in speeches if speech.opened is not None}) == 6
    for speech, result in zip(speeches, results, strict=True):
        assert speech.done is not None
        assert len(result) * 20 >= speech.done.audio_ms


async def test_open_context_flush_speaks_half_a_sentence(url: str) -> None:
    """`flush` does not wait for the end of the sentence; the turn goes on after it."""
    async with BarkClient(url) as client:
        turn = await client.open(max_lead_ms=0)
        await turn.send("Well, as I was")
        await turn.flush()
        stream = aiter(turn)
        first = await anext(stream)
        assert first.captions[0].text == "Well, as I was"  # type: ignore[union-attr]
        await turn.send(" saying.")
        await turn.close()
        rest = [caption.text async for packet in stream for caption in packet.captions if isinstance(caption, Sentence)]
    assert rest == [" saying."]


async def test_cancel_while_speaking_tells_what_was_heard(serve: Serve) -> None:
    """The loop ends at once; heard and unheard text are together exactly what was sent."""
    async with serve(speed=4.0) as server, BarkClient(f"ws://127.0.0.1:{server.port}") as client:
        speech = client.speak(TEXT, max_lead_ms=0)
        num_packets = 0
        async for _packet in speech:
            num_packets += 1
            if num_packets == 60:
                answer = await speech.cancel(played_ms=1_000)
        assert num_packets == 60
    assert answer.spoken + answer.unspoken == TEXT
    assert answer.spoken.startswith("Good evening")
    assert answer.played_ms == 1_000
    assert speech.is_over


async def test_cancel_after_done_is_answered_from_the_captions(url: str) -> None:
    """The server may have sent everything long before it is heard; an interruption is told all the same."""
    async with BarkClient(url) as client:
        speech = client.speak(TEXT, max_lead_ms=0)
        await payloads(speech)
        assert speech.done is not None
        answer = await speech.cancel(played_ms=2_000)
        whole = await speech.cancel(played_ms=speech.done.audio_ms)
    assert answer.spoken + answer.unspoken == TEXT
    assert answer.spoken.split() == TEXT.split()[: len(answer.spoken.split())]
    assert "Good evening, and welcome." in answer.spoken
    assert "fire" in answer.unspoken
    assert (whole.spoken, whole.unspoken) == (TEXT, "")


@pytest.mark.parametrize("played_ms", [0, 300, 1_700, 2_900, 4_000, 10_000])
async def test_cancel_answers_of_server_and_captions_agree(url: str, played_ms: int) -> None:
    """Whoever answers, the cut is the same."""
    async with BarkClient(url) as client:
        speech = await client.open(max_lead_ms=0)
        await speech.send(TEXT)
        await speech.flush()
        num_packets = 0
        async for _packet in speech:
            num_packets += 1
            if num_packets * 20 >= 6_000:  # nearly all of the text's audio; the context itself is still open
                local = speech.heard(played_ms)
                remote = await speech.cancel(played_ms)
    assert local == (remote.spoken, remote.unspoken)


async def test_loop_left_early_cancels_the_rest(serve: Serve) -> None:
    """A listener who goes away frees the server, without a call."""
    async with serve(speed=2.0) as server, BarkClient(f"ws://127.0.0.1:{server.port}") as client:
        speech = client.speak(TEXT)
        async for _packet in speech:
            break
        await asyncio.wait_for(speech.cancel(), 5)
        assert speech.is_over
        assert speech.done is None
        assert server.hub is not None
        assert server.hub.admission.num_contexts == 0


async def test_pcm_loop_left_early_cancels_the_rest(serve: Serve) -> None:
    """The same holds for who listens to PCM."""
    async with serve(speed=2.0) as server, BarkClient(f"ws://127.0.0.1:{server.port}") as client:
        speech = client.speak(TEXT)
        async for _block in speech.pcm():
            break
        await asyncio.wait_for(speech.cancel(), 5)
        assert speech.done is None


class NoLine:
    """Nobody is at the other end."""

    async def say(self, say: Say) -> None:
        raise AssertionError

    def say_soon(self, say: Say) -> None:
        raise AssertionError


@pytest.mark.parametrize("num_spoken", [0, 2])
async def test_sentence_that_fails_is_left_out(num_spoken: int) -> None:
    """One failed sentence does not end the turn; when all of them fail, the loop says so."""
    record = ContextRecord(Open(context="a"))
    context = Context(NoLine(), record)
    context.take(GenerationFailed("generation_failed", "a sentence could not be spoken", context="a"))
    record.is_over = True
    context.take(Done(context="a", audio_ms=0, sentences=num_spoken))
    if num_spoken:
        assert await payloads(context) == []
    else:
        with pytest.raises(GenerationFailed):
            await payloads(context)
    assert len(context.failures) == 1


async def test_error_of_the_text_iterator_comes_out_of_the_loop(url: str) -> None:
    """The caller sees the exception of their own generator."""

    async def broken() -> AsyncIterator[str]:
        yield "Good evening. And how"
        raise LookupError("the language model is gone")

    async with BarkClient(url) as client:
        with pytest.raises(LookupError, match="language model"):
            await payloads(client.speak(broken()))


async def test_cancel_stops_reading_the_text_iterator(url: str) -> None:
    """An interrupted turn asks its generator for nothing more, and the generator is closed."""
    closed = asyncio.Event()

    async def endless() -> AsyncIterator[str]:
        try:
            yield "Good evening. And how"
            await asyncio.Event().wait()
        finally:
            closed.set()

    async with BarkClient(url) as client:
        speech = client.speak(endless())
        async for _packet in speech:
            break
        await asyncio.wait_for(closed.wait(), 5)


async def test_socket_cut_in_mid_speech_loses_nothing(serve: Serve) -> None:
    """The client comes back by itself; nothing is lost and nothing comes twice, in any context."""
    async with serve() as server, BarkClient(f"ws://127.0.0.1:{server.port}") as client:
        whole = await payloads(client.speak(TEXT, max_lead_ms=0))
    async with (
        serve(speed=8.0) as server,
        BreakingProxy(server.port) as proxy,
        BarkClient(proxy.url, backoff=QUICK) as client,
    ):

        async def listen(cuts: tuple[int, ...]) -> list[bytes]:
            received = []
            async for packet in client.speak(slices(TEXT), max_lead_ms=0):
                received.append(packet.payload)
                if packet.sequence in cuts:
                    proxy.cut()
            return received

        results = await asyncio.gather(listen((5, 90, 200)), listen(()), listen((150,)))
    assert proxy.num_connections > 2
    for result in results:
        assert result == whole


async def test_line_that_goes_silent_is_noticed_and_made_anew(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A half-open socket, which nobody closes, is given up for a new one in time."""
    monkeypatch.setattr("bark_client.connection.KEEPALIVE_S", 0.1)
    async with (
        serve(speed=8.0) as server,
        BreakingProxy(server.port) as proxy,
        BarkClient(proxy.url, backoff=QUICK) as client,
    ):
        sequences = []
        async for packet in client.speak(TEXT, max_lead_ms=0):
            sequences.append(packet.sequence)
            if packet.sequence == 20:
                proxy.freeze()
    assert proxy.num_connections == 2
    assert sequences == list(range(len(sequences)))
    assert len(sequences) * 20 >= 6_000


async def test_text_swallowed_by_a_broken_socket_is_sent_again(serve: Serve) -> None:
    """What the client wrote and the server never got is made up for: no word is missing or said twice."""
    async with (
        serve() as server,
        BreakingProxy(server.port) as proxy,
        BarkClient(proxy.url, backoff=QUICK) as client,
    ):
        turn = await client.open(max_lead_ms=0)
        await turn.send(TEXT[:40])
        stream = aiter(turn)
        spoken = [await anext(stream)]
        proxy.upstream_budget = 70  # a part of a frame
        for piece in (TEXT[40:50], TEXT[50:80], TEXT[80:]):
            await turn.send(piece)
        await turn.close()
        await until(lambda: proxy.swallowed_bytes > 0)
        proxy.upstream_budget = None
        proxy.cut()
        spoken += [packet async for packet in stream]
    captions = [caption for packet in spoken for caption in packet.captions]
    assert "".join(caption.text for caption in captions if isinstance(caption, Sentence)) == TEXT


async def test_first_words_swallowed_by_a_broken_socket_are_sent_again(serve: Serve) -> None:
    """A context that the server has never heard of is opened again."""
    async with (
        serve() as server,
        BreakingProxy(server.port) as proxy,
        BarkClient(proxy.url, backoff=QUICK) as client,
    ):
        await payloads(client.speak("Hello."))  # the session is worth resuming
        proxy.upstream_budget = 0
        speech = client.speak(TEXT, max_lead_ms=0)
        await until(lambda: proxy.swallowed_bytes > 0)
        proxy.upstream_budget = None
        proxy.cut()
        captions = [caption async for packet in speech for caption in packet.captions]
    assert "".join(caption.text for caption in captions if isinstance(caption, Sentence)) == TEXT


async def test_speak_while_the_socket_is_gone_waits_for_the_next(serve: Serve) -> None:
    """What is said without a socket is sent when there is one."""
    async with (
        serve() as server,
        BreakingProxy(server.port) as proxy,
        BarkClient(proxy.url, backoff=QUICK) as client,
    ):
        proxy.is_down = True
        proxy.cut()
        await until(lambda: not client.is_connected)
        speech = client.speak(TEXT, max_lead_ms=0)
        cancelled = client.speak("Never mind.")
        answer = asyncio.create_task(cancelled.cancel())
        await until(lambda: proxy.num_refused > 1)
        proxy.is_down = False
        captions = [caption async for packet in speech for caption in packet.captions]
        assert "".join(caption.text for caption in captions if isinstance(caption, Sentence)) == TEXT
        assert isinstance(await answer, Cancelled)


async def test_cancel_across_a_broken_socket_is_obeyed(serve: Serve) -> None:
    """An interruption that meets a dead socket arrives on the next one."""
    async with (
        serve(speed=2.0) as server,
        BreakingProxy(server.port) as proxy,
        BarkClient(proxy.url, backoff=QUICK) as client,
    ):
        speech = client.speak(TEXT)
        stream = aiter(speech)
        await anext(stream)
        proxy.cut()
        answer = await asyncio.wait_for(speech.cancel(played_ms=100), 5)
    assert answer.spoken + answer.unspoken == TEXT


async def test_resume_too_late_raises_resume_expired(serve: Serve) -> None:
    """A server that has forgotten the session says so; the client can speak on afresh."""
    limits = replace(Limits(), resume_window_ms=0)
    async with (
        serve(speed=2.0, limits=limits) as server,
        BreakingProxy(server.port) as proxy,
        BarkClient(proxy.url, backoff=QUICK) as client,
    ):
        stream = aiter(client.speak(TEXT))
        await anext(stream)
        proxy.cut()
        with pytest.raises(ResumeExpired):
            async for _packet in stream:
                pass
        assert await payloads(client.speak("Hello again."))


async def test_server_gone_for_good_raises_connection_lost(serve: Serve) -> None:
    """Tries to come back are bounded; a later turn tries afresh."""
    async with (
        serve(speed=2.0) as server,
        BreakingProxy(server.port) as proxy,
        BarkClient(proxy.url, backoff=Backoff(first_s=0.01, max_s=0.02, total_s=0.1)) as client,
    ):
        stream = aiter(client.speak(TEXT))
        await anext(stream)
        proxy.is_down = True
        proxy.cut()
        with pytest.raises(ConnectionLost, match="tries to come back failed"):
            async for _packet in stream:
                pass
        proxy.is_down = False
        assert await payloads(client.speak("Hello again."))


async def test_wrong_key_raises_unauthorized(serve: Serve) -> None:
    """A key that is missing or wrong is told apart from a server that is away; the right one is let in."""
    async with serve(api_keys=("correct-horse",)) as server:
        url = f"ws://127.0.0.1:{server.port}"
        for key in (None, "wrong"):
            with pytest.raises(Unauthorized):
                await BarkClient(url, api_key=key).__aenter__()
        async with BarkClient(url, api_key="correct-horse") as client:
            assert client.ready.model == "prepared"


async def test_full_server_raises_server_busy(serve: Serve) -> None:
    """A full server says when to come back; a full house of contexts is `Overloaded`."""
    async with serve(speed=1.0, limits=replace(Limits(), max_connections=1, max_contexts=1)) as server:
        url = f"ws://127.0.0.1:{server.port}"
        async with BarkClient(url) as client:
            with pytest.raises(ServerBusy) as busy:
                await BarkClient(url).__aenter__()
            assert busy.value.retry_after_s is not None
            stream = aiter(client.speak(TEXT))
            await anext(stream)
            with pytest.raises(Overloaded) as full:
                await payloads(client.speak(TEXT))
            assert full.value.is_retryable


@pytest.mark.parametrize("url", ["ws://127.0.0.1:1", "ftp://example", "ws://"])
async def test_unreachable_address_raises_connection_failed(url: str) -> None:
    """The error names the address."""
    with pytest.raises(ConnectionFailed, match=url.removeprefix("ws://") or "address"):
        await BarkClient(url).__aenter__()


async def test_close_ends_running_turns(server: BarkServer, url: str) -> None:
    """Closing the client ends loops that still run and frees the server."""
    async with BarkClient(url) as client:
        turn = await client.open()
        await turn.send("Good evening. ")
        waiting = asyncio.create_task(payloads(turn))
        await asyncio.sleep(0)
    assert await asyncio.wait_for(waiting, 5) is not None
    with pytest.raises(ConnectionLost):
        client.speak("More.")
    assert server.hub is not None
    assert server.hub.admission.num_contexts == 0


async def test_close_lets_go_of_the_socket(serve: Serve) -> None:
    """A client that is closed leaves no connection behind, whether it was speaking or had nothing to say."""
    async with serve(speed=1.0) as server, BreakingProxy(server.port) as proxy:
        async with BarkClient(proxy.url):
            pass
        async with BarkClient(proxy.url) as client:
            async for _packet in client.speak(TEXT):
                break
        await asyncio.wait_for(until(lambda: proxy.num_open == 0), 5)
        assert proxy.num_connections == 2


async def test_close_lets_go_of_a_socket_that_answers_nothing(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """A goodbye that nobody answers is not waited for longer than said."""
    monkeypatch.setattr("bark_client.client.GOODBYE_S", 0.05)
    async with serve(speed=1.0) as server, BreakingProxy(server.port) as proxy:
        async with BarkClient(proxy.url) as client:
            async for _packet in client.speak(TEXT):
                break
            proxy.freeze()
        await asyncio.wait_for(until(lambda: proxy.num_open == 0), 2)


async def test_close_while_coming_back_lets_go_of_the_new_socket() -> None:
    """A client that is closed before the server has answered `resume` leaves no connection behind either."""
    first_lines = Path(__file__).parent.parent / "sessions" / "resume.jsonl"
    ready, _, opened = (json.loads(line) for line in first_lines.read_text().splitlines()[:3])
    sockets: list[ServerConnection] = []

    async def answer_no_resume(socket: ServerConnection) -> None:
        sockets.append(socket)
        await socket.send(json.dumps(ready["server"]))
        if len(sockets) == 1:
            await socket.recv()
            await socket.send(json.dumps(opened["server"]))
        with suppress(ConnectionClosed):
            while True:
                await socket.recv()

    subprotocols = [Subprotocol(PROTOCOL)]
    async with serve_sockets(answer_no_resume, "127.0.0.1", 0, subprotocols=subprotocols) as server:
        host, port = server.sockets[0].getsockname()
        async with BarkClient(f"ws://{host}:{port}", backoff=QUICK) as client:
            turn = await client.open(context="a")
            await until(lambda: turn.opened is not None)
            sockets[0].transport.abort()
            await until(lambda: len(sockets) == 2)
            assert not client.is_connected
        await asyncio.wait_for(sockets[1].wait_closed(), 5)
