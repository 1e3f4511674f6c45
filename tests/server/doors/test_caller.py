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
from bark_server.messages import Cancelled, Done, Error, Open, Opened, Ready, SentenceStarted
from bark_server.prepared import S_PER_CHARACTER
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


async def test_speech_as_pcm_is_the_engines_sound_and_no_more(live: Any) -> None:
    """Without the padding of the last packet."""
    server = await live.start()
    async with Speech(server.hub, _open()) as speech:
        speech.say("Well, that is odd, is it not?")
        speech.end()
        pcm = np.concatenate([piece async for piece in speech.pcm()])
    assert len(pcm) == int(29 * S_PER_CHARACTER * RATE_HZ)
    assert np.abs(pcm / 32767 - np.resize(voice_like(RATE_HZ), len(pcm))).max() < 1e-4


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


async def test_caller_closed_while_somebody_waits_is_over(stage: Stage) -> None:
    """Whoever waits for frames hears of the end, and the session is gone."""
    caller = Caller(stage.hub)
    assert isinstance(parse((await caller.take())[0]), Ready)
    waiting = asyncio.ensure_future(caller.take())
    await asyncio.sleep(0)
    caller.close()
    assert await asyncio.wait_for(waiting, 5) == []
    assert stage.hub.sessions == ()


async def test_caller_with_nonsense_is_told(stage: Stage) -> None:
    """What came over some wire may be anything."""
    caller = Caller(stage.hub)
    await caller.take()
    caller.send_raw(b"{")
    error = parse((await caller.take())[0])
    assert isinstance(error, Error)
    assert error.code == "bad_json"
    caller.close()


async def _all(speech: Speech) -> list[Any]:
    return [event async for event in speech]
