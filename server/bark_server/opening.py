"""A client's `open`, checked and turned into a context. Knows no session but its id, and no other contexts."""

from __future__ import annotations

import dataclasses

from bark_server.context import Context
from bark_server.errors import ClientError
from bark_server.limits import PACKET_MS
from bark_server.messages import Open, Opened
from bark_server.pacing import Playback
from bark_server.packets import Packetizer, packet_encoder
from bark_server.services import Model, Services, SpeechRequest
from bark_stream.config import ChunkPolicy, SamplingConfig
from bark_stream.sentences import SentenceStream


def open_context(
    request: Open, services: Services, *, session_id: str, number: int, now: float
) -> tuple[Context, Opened]:
    """Make the context and count it as admitted; `number` marks its audio.

    Raises: ClientError `unknown_voice` or `overloaded`, BarkStreamError for what the encoder refuses; then nothing was
        started.
    """
    model, limits = services.model, services.limits
    if request.voice is not None and request.voice not in model.voices:
        raise ClientError("unknown_voice", "no voice of that name; `ready` lists them", context=request.context)
    voice = model.default_voice if request.voice is None else request.voice
    origin = None if voice is None else model.voice_origin(voice)
    policy = ChunkPolicy.realtime() if request.carry is None else ChunkPolicy.realtime(request.carry)
    speech_request = SpeechRequest(number, voice, request.seed, _sampling(request, model), policy)
    packetizer = Packetizer(
        packet_encoder(request.format, rate_hz=model.sample_rate_hz, bitrate=request.bitrate),
        rate_hz=model.sample_rate_hz,
    )
    max_lead_ms = limits.max_lead_ms if request.max_lead_ms is None else request.max_lead_ms
    services.admission.enter(now, context=request.context)
    context = Context(
        name=request.context,
        number=number,
        packetizer=packetizer,
        playback=Playback(rate_hz=model.sample_rate_hz, max_lead_s=max_lead_ms / 1000),
        sentences=SentenceStream(),
        open_speech=lambda: services.open_speech(session_id, speech_request),
        rate_hz=model.sample_rate_hz,
        limits=limits,
        now=now,
        wants_visemes=request.visemes,
    )
    opened = Opened(
        context=request.context,
        stream=number,
        voice=voice,
        voice_origin=origin,
        format=request.format,
        sample_rate=model.sample_rate_hz,
        frame_ms=PACKET_MS,
        pre_skip=packetizer.pre_skip,
    )
    return context, opened


def _sampling(request: Open, model: Model) -> SamplingConfig:
    sampling = model.sampling
    if request.text_temperature is not None:
        sampling = dataclasses.replace(sampling, text_temperature=request.text_temperature)
    if request.waveform_temperature is not None:
        sampling = dataclasses.replace(sampling, waveform_temperature=request.waveform_temperature)
    return sampling
