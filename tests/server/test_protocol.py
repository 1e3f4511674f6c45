"""A session, message by message, without sockets, threads or a clock."""

from __future__ import annotations

import json

import numpy as np
import pytest
from bark_server.frames import FIRST_OF_SENTENCE, LAST_OF_CONTEXT, AudioFrame
from bark_server.notices import ContextCancelled, ContextDone, FirstAudio, Underrun
from harness import CHUNK_SAMPLES, RATE_HZ, Client, Stage, decode_opus, decode_pcm

HELLO = "Hello there, my good old friend. How are you doing on this fine day? "
GOODBYE = "It was so good to see you again. "


def _speak(stage: Stage, client: Client, text: str, **options: object) -> None:
    client.send("open", context="a", **options)
    client.send("text", context="a", text=text)
    client.send("close", context="a")
    stage.run(client)


def test_ready_is_the_first_message(stage: Stage) -> None:
    """A new socket is told what it may use and what it may not exceed."""
    client = stage.connect()
    client.pump()
    ready = client.messages[0]
    assert ready["type"] == "ready"
    assert ready["protocol"] == "bark-stream.v1"
    assert ready["voices"] == ["alice", "bob"]
    assert ready["formats"] == ["opus", "pcm_s16le"]
    assert ready["resumed"] is False
    assert "contexts" not in ready


def test_speaking_in_order(stage: Stage) -> None:
    """`opened`, then sentences each before its audio, then `done`; every packet counted and timed."""
    client = stage.connect()
    _speak(stage, client, HELLO)
    kinds = [frame if isinstance(frame, AudioFrame) else frame["type"] for frame in client.frames]
    assert kinds[:4] == ["ready", "opened", "sentence", "words"]
    assert kinds[-1] == "done"
    assert [frame.sequence for frame in client.audio] == list(range(len(client.audio)))
    assert [frame.timestamp for frame in client.audio] == [480 * at for at in range(len(client.audio))]
    assert [frame.flags & LAST_OF_CONTEXT for frame in client.audio].index(1) == len(client.audio) - 1
    assert sum(bool(frame.flags & FIRST_OF_SENTENCE) for frame in client.audio) == len(client.of_type("sentence"))
    assert "".join(sentence["text"] for sentence in client.of_type("sentence")) == HELLO


@pytest.mark.parametrize("audio_format", ["opus", "pcm_s16le"])
def test_audio_is_the_engines(stage: Stage, audio_format: str) -> None:
    """What a client decodes is what the engine made: same length, same sound."""
    client = stage.connect()
    _speak(stage, client, HELLO, format=audio_format, max_lead_ms=0)
    made = np.concatenate(stage.engine.streams[0].pcm)
    payloads = [frame.payload for frame in client.audio]
    pre_skip = client.of_type("opened")[0]["pre_skip"]
    heard = decode_opus(payloads, pre_skip) if audio_format == "opus" else decode_pcm(payloads)
    length = client.of_type("done")[0]["audio_samples"]
    assert length == len(made) <= len(heard)
    assert 10 * np.log10(np.sum(made**2) / np.sum((made - heard[:length]) ** 2)) > 15


def test_open_passes_its_options_to_the_engine(stage: Stage) -> None:
    """Voice, seed, temperatures and history policy arrive; what is not said stays the model's own."""
    client = stage.connect()
    _speak(stage, client, HELLO, voice="bob", seed=9, text_temperature=0.1, carry="last")
    stream = stage.engine.streams[0]
    assert (stream.voice, stream.seed) == ("bob", 9)
    assert stream.sampling is not None
    assert (stream.sampling.text_temperature, stream.sampling.waveform_temperature) == (0.1, 0.7)
    assert stream.policy is not None
    assert stream.policy.carry == "last"


def test_open_starts_nothing_in_the_engine(stage: Stage) -> None:
    """A context that says nothing holds no stream of the engine, and is done when it is closed."""
    client = stage.connect()
    client.send("open", context="a")
    assert stage.engine.streams == []
    client.send("close", context="a")
    client.pump()
    assert client.last == {
        "type": "done", "context": "a", "audio_ms": 0, "audio_samples": 0, "sentences": 0, "ttfa_ms": None, "rtf": None,
    }  # fmt: skip


def test_text_opens_its_context(stage: Stage) -> None:
    """`text` for a name that is free opens it with defaults."""
    client = stage.connect()
    client.send("text", context="a", text=HELLO)
    stage.run(client, seconds=1)
    assert client.of_type("opened")[0]["format"] == "opus"
    assert client.audio


def test_text_by_the_character(stage: Stage) -> None:
    """The slices that text comes in make no difference to what is heard."""
    whole, sliced = stage.connect(), stage.connect()
    _speak(stage, whole, HELLO)
    for character in HELLO:
        sliced.send("text", context="a", text=character)
    sliced.send("close", context="a")
    stage.run(sliced)
    assert [frame.payload for frame in sliced.audio] == [frame.payload for frame in whole.audio]


def test_flush_speaks_an_unfinished_sentence(stage: Stage) -> None:
    """Without a stop nothing is said; after `flush` it is, and the context goes on."""
    client = stage.connect()
    client.send("text", context="a", text="Well I was about to")
    stage.run(client, seconds=1)
    assert not client.audio
    client.send("flush", context="a")
    stage.run(client, seconds=3)
    assert client.of_type("sentence")[0]["text"] == "Well I was about to"
    client.send("text", context="a", text=" say something else.")
    client.send("close", context="a")
    stage.run(client)
    assert client.last["type"] == "done"


def test_contexts_run_side_by_side(stage: Stage) -> None:
    """Several contexts share a socket; each has its own stream and its own complete audio."""
    client = stage.connect()
    for name in "abc":
        client.send("text", context=name, text=HELLO)
        client.send("close", context=name)
    stage.run(client)
    assert {message["context"] for message in client.of_type("done")} == set("abc")
    for stream in (1, 2, 3):
        sequences = [frame.sequence for frame in client.audio if frame.stream == stream]
        assert sequences == list(range(len(sequences)))
    first_of = [min(at for at, f in enumerate(client.audio) if f.stream == stream) for stream in (1, 2, 3)]
    assert max(first_of) < 40


def test_name_can_be_opened_again(stage: Stage) -> None:
    """After `done` or `cancelled` the name is free, with a new stream number."""
    client = stage.connect()
    _speak(stage, client, HELLO)
    _speak(stage, client, HELLO)
    client.send("cancel", context="a")
    client.send("open", context="a")
    client.pump()
    assert [message["stream"] for message in client.of_type("opened")] == [1, 2, 3]


@pytest.mark.parametrize(
    ("messages", "code", "context"),
    [
        ([("flush", {"context": "x"})], "unknown_context", "x"),
        ([("close", {"context": "x"})], "unknown_context", "x"),
        ([("cancel", {"context": "x"})], "unknown_context", "x"),
        ([("open", {"context": "x", "voice": "nobody"})], "unknown_voice", "x"),
        ([("open", {"context": "x"}), ("open", {"context": "x"})], "context_exists", "x"),
        ([("text", {"context": "x", "text": "y" * 2001})], "text_too_long", "x"),
        ([("open", {"context": str(at)}) for at in range(9)], "too_many_contexts", "8"),
        ([("text", {"context": "x", "text": HELLO}), ("close", {"context": "x"}), ("flush", {"context": "x"})],
         "context_closed", "x"),
    ],
)  # fmt: skip
def test_errors_name_code_and_context(messages: list[tuple[str, dict[str, object]]], code: str, context: str) -> None:
    """What cannot be done gets the protocol's code, names its context and closes nothing."""
    stage = Stage(max_contexts_per_session=8, max_text_characters=2000)
    client = stage.connect()
    for kind, fields in messages:
        client.send(kind, **fields)
    client.pump()
    errors = client.of_type("error")
    assert [(error["code"], error["context"]) for error in errors] == [(code, context)]
    assert client.session.ending is None


def test_error_in_one_context_leaves_the_other_alone(stage: Stage) -> None:
    """A sentence that fails is told with its context; that context goes on, and so do the others."""
    client = stage.connect()
    for name, text in (("a", f"This is unspeakable for anybody at all. {GOODBYE}"), ("b", HELLO)):
        client.send("text", context=name, text=text)
        client.send("close", context=name)
    stage.run(client)
    (error,) = client.of_type("error")
    assert (error["code"], error["context"], error["retryable"]) == ("generation_failed", "a", True)
    done = {message["context"]: message["sentences"] for message in client.of_type("done")}
    assert done["a"] >= 1
    assert done["b"] >= 1


def test_cancel_stops_at_once(stage: Stage) -> None:
    """After `cancel` no packet of the context leaves, the engine's stream is closed, and the text adds up."""
    client = stage.connect()
    client.send("text", context="a", text=HELLO + GOODBYE)
    stage.run(client, seconds=1.5)
    num_packets = len(client.audio)
    assert num_packets
    client.send("cancel", context="a", played_ms=1_000)
    assert stage.engine.streams[0].is_closed
    stage.run(client)
    assert len(client.audio) == num_packets
    cancelled = client.last
    assert cancelled["type"] == "cancelled"
    assert cancelled["played_ms"] == 1_000
    assert cancelled["spoken"] + cancelled["unspoken"] == HELLO + GOODBYE
    assert cancelled["spoken"]
    assert stage.hub.admission.num_contexts == 0
    assert stage.notices_of(ContextCancelled)


def test_cancel_without_a_position_cuts_at_what_was_sent(stage: Stage) -> None:
    """A client that does not know what it played gets the text of what was sent."""
    client = stage.connect()
    client.send("text", context="a", text=HELLO)
    stage.run(client, seconds=1.0)
    client.send("cancel", context="a")
    client.pump()
    assert client.last["played_ms"] == client.last["audio_ms"] > 0


def test_cancel_uses_the_models_word_times() -> None:
    """With times from the model, exactly the words that had ended are spoken."""
    stage = Stage(with_words=True)
    client = stage.connect()
    client.send("open", context="a", max_lead_ms=0)
    client.send("text", context="a", text="One two three four five six. ")
    client.send("flush", context="a")
    stage.run(client)
    words = {word["text"]: word["end_ms"] for message in client.of_type("words") for word in message["words"]}
    client.send("cancel", context="a", played_ms=words["three"])
    client.pump()
    assert client.last["spoken"] == "One two three"


def test_cancel_after_done_still_tells_the_truth(stage: Stage) -> None:
    """The server is ahead of its listener: who interrupts the tail that is still playing is answered, once."""
    client = stage.connect()
    _speak(stage, client, HELLO)
    client.send("cancel", context="a", played_ms=500)
    client.pump()
    assert client.last["type"] == "cancelled"
    assert client.last["spoken"] + client.last["unspoken"] == HELLO
    client.send("cancel", context="a")
    client.pump()
    assert client.last["code"] == "unknown_context"


def test_cancel_of_everything_played_has_spoken_everything(stage: Stage) -> None:
    """Played to the end means nothing is left unspoken, in spite of rounding to milliseconds."""
    client = stage.connect()
    _speak(stage, client, HELLO)
    client.send("cancel", context="a", played_ms=client.of_type("done")[0]["audio_ms"])
    client.pump()
    assert (client.last["spoken"], client.last["unspoken"]) == (HELLO, "")


def test_lead_is_bounded(stage: Stage) -> None:
    """With `max_lead_ms` audio leaves no faster than it is heard, in step with the clock."""
    client = stage.connect()
    client.send("open", context="a", max_lead_ms=400)
    client.send("text", context="a", text=HELLO * 3)
    client.send("close", context="a")
    start_s = stage.now
    while not client.audio or client.last["type"] != "done":
        stage.engine.step()
        client.pump()
        sent_s = len(client.audio) * 0.02
        assert sent_s <= stage.now - start_s + 0.4 + 1e-6
        stage.now += 0.02
    assert stage.notices_of(ContextDone)


def test_lead_of_zero_is_as_fast_as_it_can(stage: Stage) -> None:
    """Without pacing everything made leaves at once."""
    client = stage.connect()
    client.send("open", context="a", max_lead_ms=0)
    client.send("text", context="a", text=HELLO)
    client.send("close", context="a")
    while stage.engine.step():
        client.pump()
    client.pump()
    assert client.last["type"] == "done"


def test_played_reaches_the_engine(stage: Stage) -> None:
    """A playback report moves the engine's idea of the listener."""
    client = stage.connect()
    client.send("open", context="a", max_lead_ms=0)
    client.send("text", context="a", text=HELLO)
    for _ in range(10):
        stage.engine.step()
    client.pump()
    client.send("played", context="a", played_ms=500)
    assert stage.engine.streams[0].played_samples == 12_000
    client.send("played", context="gone", played_ms=500)
    client.pump()
    assert not client.of_type("error")


def test_engine_pauses_when_nobody_takes_its_audio() -> None:
    """A listener who takes nothing stops his own generation at the buffer's size; memory stays there."""
    stage = Stage(max_buffer_ms=1_000)
    client = stage.connect()
    client.send("text", context="a", text=HELLO * 20)
    for _ in range(200):
        stage.engine.step()
    assert stage.engine.streams[0].made_samples <= RATE_HZ + CHUNK_SAMPLES


def test_unacknowledged_bytes_are_bounded() -> None:
    """A client that acknowledges nothing is sent so much and no more; when it does, it goes on."""
    stage = Stage(max_unacknowledged_bytes=20_000, replay_bytes=20_000, reader_idle_ms=600_000)
    client = stage.connect()
    client.acknowledges = False
    client.send("open", context="a", format="pcm_s16le", max_lead_ms=0)
    client.send("text", context="a", text=HELLO * 5)
    client.send("close", context="a")
    stage.run(client)
    one_turn_bytes = 16 * 976
    assert sum(len(frame.payload) for frame in client.audio) <= 20_000 + one_turn_bytes
    assert client.session.held_bytes <= 20_000 + one_turn_bytes + 2_000
    client.acknowledges = True
    client.session.acknowledge(10**6, stage.now)
    stage.run(client)
    assert client.last["type"] == "done"


def test_reader_who_acknowledges_nothing_is_ended(stage: Stage) -> None:
    """1008 after the idle limit, and it is final: everything is freed."""
    client = stage.connect()
    client.acknowledges = False
    client.send("open", context="a", format="pcm_s16le", max_lead_ms=0)
    client.send("text", context="a", text=HELLO * 5)
    stage.run(client)
    stage.now += 31
    client.pump()
    assert client.session.ending is not None
    assert client.session.ending.code == 1008
    client.drop()
    assert stage.hub.sessions == ()
    assert stage.engine.streams[0].is_closed


def test_silent_client_is_pinged(stage: Stage) -> None:
    """A socket without traffic is asked whether it is alive, and left alone when it answers."""
    client = stage.connect()
    client.pump()
    assert client.session.ping_position(stage.now) is None
    stage.now += 20
    position = client.session.ping_position(stage.now)
    assert position is not None
    assert client.session.ping_position(stage.now) is None
    client.session.acknowledge(position, stage.now)
    stage.now += 19
    assert client.session.ping_position(stage.now) is None


def test_idle_context_is_closed(stage: Stage) -> None:
    """A context without text for too long is told so and done, its buffered text spoken."""
    client = stage.connect()
    client.send("text", context="a", text="Left without a stop")
    client.pump()
    stage.now += 121
    client.pump()
    stage.run(client)
    assert client.of_type("error")[0]["code"] == "idle_timeout"
    assert client.last["type"] == "done"
    assert client.last["sentences"] == 1


def test_idle_session_is_ended(stage: Stage) -> None:
    """A socket that is alive and never says anything is closed in the end."""
    client = stage.connect()
    for _ in range(100):
        stage.now += 10
        client.session.acknowledge(0, stage.now)
        client.pump()
    assert client.session.ending is not None
    assert client.of_type("error")[0]["code"] == "idle_timeout"


def test_ended_session_takes_nothing_more(stage: Stage) -> None:
    """What comes while the socket is being closed is not answered: nobody would fetch the answers."""
    client = stage.connect()
    client.pump()
    stage.now += stage.limits.session_idle_ms / 1000 + 1
    client.session.tick(stage.now)
    assert client.session.ending is not None
    held_bytes = client.session.held_bytes
    client.send("open", context="a")
    client.send_raw("nonsense")
    assert client.session.held_bytes == held_bytes
    assert stage.hub.admission.num_contexts == 0


def test_rate_limit_spares_cancel() -> None:
    """Too many messages are refused with a time to wait; an interruption never is."""
    stage = Stage(max_messages_per_s=5)
    client = stage.connect()
    for _ in range(11):
        client.send("text", context="a", text="a")
    client.send("cancel", context="a")
    client.pump()
    (error,) = client.of_type("error")
    assert error["code"] == "rate_limited"
    assert error["retry_after_ms"] > 0
    assert client.last["unspoken"] == "a" * 10


def test_overload_is_told_before_anything_starts() -> None:
    """Above `max_contexts` of the whole server: `overloaded`, and the engine has heard nothing."""
    stage = Stage(max_contexts=1)
    first, second = stage.connect(), stage.connect()
    first.send("open", context="a")
    second.send("text", context="a", text=HELLO)
    second.pump()
    assert second.last["code"] == "overloaded"
    assert second.last["retry_after_ms"] > 0
    assert stage.engine.streams == []


def test_underrun_inside_a_sentence_is_noticed(stage: Stage) -> None:
    """Audio made after its playback time counts, and closes the door to newcomers for a while."""
    client = stage.connect()
    client.send("text", context="a", text=HELLO)
    stage.engine.step()
    client.pump()
    stage.now += 5
    stage.engine.step()
    client.pump()
    assert len(stage.notices_of(Underrun)) == 1
    other = stage.connect()
    other.send("open", context="b")
    other.pump()
    assert other.last["code"] == "overloaded"


def test_overdue_first_audio_closes_the_door(stage: Stage) -> None:
    """Somebody waits too long for the first sound: newcomers are refused before anything is started."""
    client, other = stage.connect(), stage.connect()
    client.send("text", context="a", text=HELLO)
    client.pump()
    stage.now += 3.1
    client.pump()
    other.send("text", context="b", text=HELLO)
    other.pump()
    assert other.last["code"] == "overloaded"
    assert len(stage.engine.streams) == 1


def test_pause_between_sentences_is_no_underrun(stage: Stage) -> None:
    """A listener who runs dry because no text came is nobody's fault."""
    client = stage.connect()
    client.send("text", context="a", text=HELLO)
    client.send("flush", context="a")
    stage.run(client)
    stage.now += 30
    client.send("text", context="a", text=GOODBYE)
    client.send("close", context="a")
    stage.run(client)
    assert stage.notices_of(Underrun) == []


def test_first_audio_is_timed_from_the_text(stage: Stage) -> None:
    """TTFA runs from the text that completed the first sentence."""
    client = stage.connect()
    client.send("open", context="a")
    stage.now += 10
    client.send("text", context="a", text=HELLO)
    stage.now += 0.5
    stage.engine.step()
    client.pump()
    (notice,) = stage.notices_of(FirstAudio)
    assert notice.ttfa_s == pytest.approx(0.5)


def test_words_come_before_their_audio(stage: Stage) -> None:
    """No word is told after its audio has left; each word once, in order."""
    client = stage.connect()
    _speak(stage, client, HELLO + GOODBYE)
    sent_ms, told = 0.0, []
    for frame in client.frames:
        if isinstance(frame, AudioFrame):
            sent_ms = (frame.timestamp + 480) / 24
        elif frame["type"] == "words":
            assert all(word["end_ms"] >= sent_ms - 20 for word in frame["words"])
            told += [word["text"] for word in frame["words"]]
    assert told == (HELLO + GOODBYE).split()


def test_stall_is_seen(stage: Stage) -> None:
    """An engine that owes audio and makes none is stalled; one that waits for its listener is not."""
    client = stage.connect()
    client.send("text", context="a", text=HELLO)
    stage.now += 31
    assert stage.hub.stalled_s() == pytest.approx(31)
    for _ in range(50):
        stage.engine.step()
    stage.now += 31
    assert stage.hub.stalled_s() == 0


def test_drain_speaks_out(stage: Stage) -> None:
    """Draining closes every context, refuses new ones, and is over when all is said."""
    client = stage.connect()
    client.send("text", context="a", text=HELLO + "And so")
    stage.hub.drain()
    client.send("open", context="b")
    stage.run(client)
    assert client.of_type("error")[0]["code"] == "overloaded"
    assert client.last["type"] == "done"
    assert "".join(sentence["text"] for sentence in client.of_type("sentence")) == HELLO + "And so"
    assert stage.hub.is_quiet


def test_resume_must_come_first(stage: Stage) -> None:
    """`resume` after anything else is refused and changes nothing."""
    client = stage.connect()
    client.send("open", context="a")
    client.send("resume", session="id1", received={})
    client.pump()
    assert client.last["code"] == "bad_field"


def test_binary_json_is_read_too(stage: Stage) -> None:
    """Bytes are as good as text, if they are JSON."""
    client = stage.connect()
    client.send_raw(json.dumps({"type": "open", "context": "a"}).encode())
    client.pump()
    assert client.last["type"] == "opened"
