"""The client inside the server: a real hub and engine thread, no socket."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest
from bark_server.doors.caller import CONTEXT, Caller, Speech, parse
from bark_server.errors import ClientError
from bark_server.frames import AudioFrame
from bark_server.limits import Limits
from bark_server.messages import Cancelled, Done, Open, Opened, Ready, Resume, SentenceStarted
from harness import RATE_HZ, Stage, decode_pcm, voice_like

HELLO = "Hello there, my good old friend. How are you doing on this fine day? "


def _open(**fields: Any) -> Open:
    return Open(context=CONTEXT, format="pcm_s16le", **{"max_lead_ms": 0, **fields})


async def test_speech_is_the_engines_sound(live: Any) -> None:
    """Text in, the engine's sound out to the sample, with its messages in the protocol's order."""
    server = await live.start()
    async with Speech(server.hub, _open()) as speech:
        speech.say(HELLO)
        speech.end()
        events = [event async for event in speech]
    kinds = [type(event) for event in events]
    assert kinds[0] is Opened
    assert kinds[-1] is Done
    assert kinds.index(SentenceStarted) < kinds.index(AudioFrame)
    pcm = decode_pcm([event.payload for event in events if isinstance(event, AudioFrame)])[: events[-1].audio_samples]
    assert np.abs(pcm - np.resize(voice_like(RATE_HZ), len(pcm))).max() < 1e-4
    assert server.hub.num_links == 0


async def test_speech_that_nobody_reads_pauses_the_engine(live: Any) -> None:
    """What is not asked for is not made, beyond the buffer that every context has."""
    server = await live.start(limits=Limits(max_buffer_ms=1_000))
    made = []
    make = live.engines[0]._make
    live.engines[0]._make = lambda stream: [made.append(event) or event for event in make(stream)]
    async with Speech(server.hub, _open()) as speech:
        speech.say(HELLO * 20)
        speech.end()
        async for event in speech:
            if isinstance(event, AudioFrame):
                break
        num_made = -1
        while num_made != len(made):
            num_made = len(made)
            await asyncio.sleep(0.05)
        assert num_made < 10
        rest = [event async for event in speech]
    assert isinstance(rest[-1], Done)
    assert rest[-1].audio_ms > 60_000


async def test_speech_cancelled_ends_with_what_was_heard(live: Any) -> None:
    """The engine stops, and the last event tells how far it came."""
    server = await live.start(speed=4.0)
    async with Speech(server.hub, _open()) as speech:
        speech.say(HELLO)
        heard = []
        async for event in speech:
            heard.append(event)
            if isinstance(event, AudioFrame):
                speech.cancel(20)
        assert isinstance(heard[-1], Cancelled)
        assert heard[-1].spoken + heard[-1].unspoken == HELLO
        assert live.engines[0].stats().num_streams == 0


async def test_speech_left_early_frees_the_engine(live: Any) -> None:
    """Whoever goes away in the middle leaves nothing running."""
    server = await live.start(speed=4.0)
    async with Speech(server.hub, _open()) as speech:
        speech.say(HELLO)
        async for event in speech:
            if isinstance(event, AudioFrame):
                break
    assert live.engines[0].stats().num_streams == 0
    assert server.hub.sessions == ()


async def test_speech_refused_raises_the_servers_error(live: Any) -> None:
    """An unknown voice is an exception with the protocol's code."""
    server = await live.start()
    async with Speech(server.hub, _open(voice="nobody")) as speech:
        with pytest.raises(ClientError, match="unknown_voice"):
            [event async for event in speech]


async def test_speech_waits_for_text(live: Any) -> None:
    """Reading may begin before there is anything to say."""
    server = await live.start()
    async with Speech(server.hub, _open()) as speech:
        reading = asyncio.ensure_future(_all(speech))
        await asyncio.sleep(0.01)
        speech.say("Yes")
        speech.flush()
        await asyncio.sleep(0.01)
        speech.end()
        events = await asyncio.wait_for(reading, 10)
    assert isinstance(events[-1], Done)


async def test_caller_is_greeted_and_resumed(stage: Stage) -> None:
    """A session outlives its caller, and another caller takes it over like another socket would."""
    first = Caller(stage.hub)
    ready = parse((await first.take())[0])
    assert isinstance(ready, Ready)
    first.send(_open())
    assert isinstance(parse((await first.take())[0]), Opened)
    first.close(is_final=False)
    assert await first.take() == []
    second = Caller(stage.hub)
    second.send(Resume(session=ready.session, received={CONTEXT: -1}))
    frames = [parse(frame) for frame in await second.take()]
    assert isinstance(frames[0], Ready)
    assert frames[0].resumed
    assert [type(frame) for frame in frames[1:]] == [Opened]
    second.close()
    assert stage.hub.sessions == ()


async def test_caller_taken_over_while_waiting_is_over(stage: Stage) -> None:
    """Whoever waits for frames of a session that somebody else took hears of it."""
    first = Caller(stage.hub)
    ready = parse((await first.take())[0])
    first.send(_open())
    await first.take()
    waiting = asyncio.ensure_future(first.take())
    await asyncio.sleep(0)
    second = Caller(stage.hub)
    assert isinstance(ready, Ready)
    second.send(Resume(session=ready.session, received={CONTEXT: -1}))
    assert await asyncio.wait_for(waiting, 5) == []
    second.close()


async def _all(speech: Speech) -> list[Any]:
    return [event async for event in speech]
