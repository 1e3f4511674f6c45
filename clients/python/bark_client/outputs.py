"""Where the command line tool's speech goes: an Ogg Opus file, a WAV file or the loudspeaker. Knows no socket."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
import sys
import tempfile
import wave
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Protocol

from bark_client.errors import OutputFailed
from bark_client.messages import AudioFormat, Done, Opened
from bark_client.ogg import OggOpusWriter
from bark_client.opus import Decoder, decoder_for, to_pcm_16
from bark_client.packet import Packet

# Programs that play raw PCM from their standard input, and how to tell them so.
PLAYERS: Mapping[str, tuple[str, ...]] = {
    "pw-cat": ("--playback", "--raw", "--format=s16", "--channels=1", "--rate={rate}", "-"),
    "paplay": ("--raw", "--format=s16le", "--channels=1", "--rate={rate}"),
    "aplay": ("-q", "-t", "raw", "-f", "S16_LE", "-c", "1", "-r", "{rate}"),
    "ffplay": (
        *("-loglevel", "quiet", "-nodisp", "-autoexit"),
        *("-f", "s16le", "-ch_layout", "mono", "-sample_rate", "{rate}", "-"),
    ),
    "play": ("-q", "-t", "raw", "-e", "signed", "-b", "16", "-c", "1", "-r", "{rate}", "-"),
}


CLONED_COMMENT = "Synthetic speech with a voice that was cloned from a person's, who agreed"


class Output(Protocol):
    format: AudioFormat
    """What to ask the server for."""

    def write(self, packet: Packet, opened: Opened) -> None:
        """The next packet. Raises: OutputFailed."""

    def finish(self, done: Done | None) -> None:
        """All is there; `done` is None when it was interrupted. Raises: OutputFailed."""

    def discard(self) -> None:
        """Nothing came of it: leave nothing behind."""


class _File:
    """A file that has its name only when it is whole; `-` is standard output."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._temporary: str | None = None
        self.file: BinaryIO
        try:
            if target == "-":
                self.file = sys.stdout.buffer
                return
            path = Path(target)
            handle, self._temporary = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
            self.file = os.fdopen(handle, "wb")
        except OSError as problem:
            raise OutputFailed(target, problem.strerror or str(problem)) from problem

    def keep(self) -> None:
        try:
            self.file.flush()
            if self._temporary is not None:
                self.file.close()
                mask = os.umask(0)
                os.umask(mask)
                os.chmod(self._temporary, 0o666 & ~mask)
                os.replace(self._temporary, self._target)
                self._temporary = None
        except OSError as problem:
            raise OutputFailed(self._target, problem.strerror or str(problem)) from problem

    def drop(self) -> None:
        if self._temporary is not None:
            with suppress(OSError):
                self.file.close()
                os.unlink(self._temporary)


class OggOutput:
    """The packets as they come."""

    format: AudioFormat = "opus"

    def __init__(self, target: str) -> None:
        self._target = target
        self._file = _File(target)
        self._writer: OggOpusWriter | None = None

    def write(self, packet: Packet, opened: Opened) -> None:
        try:
            if self._writer is None:
                packet_samples = opened.sample_rate * opened.frame_ms // 1000
                self._writer = OggOpusWriter(
                    self._file.file,
                    rate_hz=opened.sample_rate,
                    pre_skip=opened.pre_skip,
                    packet_samples=packet_samples,
                    comment=CLONED_COMMENT if opened.voice_origin == "cloned" else None,
                )
            self._writer.write(packet.payload)
        except OSError as problem:
            raise OutputFailed(self._target, problem.strerror or str(problem)) from problem

    def finish(self, done: Done | None) -> None:
        if self._writer is not None:
            self._writer.finish(None if done is None else done.audio_samples)
        self._file.keep()

    def discard(self) -> None:
        self._file.drop()


class WavOutput:
    """16-bit PCM."""

    format: AudioFormat = "pcm_s16le"

    def __init__(self, target: str) -> None:
        if target == "-":
            raise OutputFailed(target, "a WAV file begins with its length, so it cannot be a pipe")
        self._target = target
        self._file = _File(target)
        self._wave: wave.Wave_write | None = None
        self._comment: str | None = None
        self._held = b""
        """The newest packet: how much of it is padding is told last."""
        self._num_samples = 0

    def write(self, packet: Packet, opened: Opened) -> None:
        if self._wave is None:
            self._wave = wave.Wave_write(self._file.file)
            self._wave.setparams((1, 2, opened.sample_rate, 0, "NONE", ""))
            self._comment = CLONED_COMMENT if opened.voice_origin == "cloned" else None
        self._write_held()
        self._held = packet.payload

    def finish(self, done: Done | None) -> None:
        if done is not None and done.audio_samples is not None:
            self._held = self._held[: 2 * max(0, done.audio_samples - self._num_samples)]
        self._write_held()
        if self._wave is not None:
            self._wave.close()
            if self._comment is not None:
                _append_comment(self._file.file, self._comment)
        self._file.keep()

    def discard(self) -> None:
        self._file.drop()

    def _write_held(self) -> None:
        if self._wave is not None and self._held:
            try:
                self._wave.writeframesraw(self._held)
            except OSError as problem:
                raise OutputFailed(self._target, problem.strerror or str(problem)) from problem
            self._num_samples += len(self._held) // 2


def _append_comment(file: BinaryIO, comment: str) -> None:
    """Behind the samples of a finished WAV file: a RIFF `LIST` of `INFO`, whose field `ICMT` is the comment."""
    text = comment.encode() + b"\0"
    text += b"\0" * (len(text) % 2)
    field = b"INFO" + struct.pack("<4sI", b"ICMT", len(text)) + text
    file.seek(0, os.SEEK_END)
    file.write(struct.pack("<4sI", b"LIST", len(field)) + field)
    num_bytes = file.tell()
    file.seek(4)
    file.write(struct.pack("<I", num_bytes - 8))


class PlayerOutput:
    """The first player program that is there, fed as packets come."""

    format: AudioFormat = "opus"

    def __init__(self) -> None:
        found = next((name for name in PLAYERS if shutil.which(name)), None)
        if found is None:
            raise OutputFailed("loudspeaker", f"no player was found; install one of {', '.join(PLAYERS)}")
        self._name = found
        self._process: subprocess.Popen[bytes] | None = None
        self._decoder: Decoder | None = None
        self._num_skip = 0

    def write(self, packet: Packet, opened: Opened) -> None:
        if self._process is None or self._decoder is None:
            command = [self._name, *(part.format(rate=opened.sample_rate) for part in PLAYERS[self._name])]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE)
            self._decoder, self._num_skip = decoder_for(opened), opened.pre_skip
        block = self._decoder.decode(packet.payload)
        block, self._num_skip = block[self._num_skip :], max(0, self._num_skip - len(block))
        pcm = to_pcm_16(block)
        try:
            if self._process.stdin is not None:
                self._process.stdin.write(pcm)
                self._process.stdin.flush()
        except OSError as problem:
            raise OutputFailed(self._name, problem.strerror or str(problem)) from problem

    def finish(self, done: Done | None) -> None:
        """Waits until everything was heard."""
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()
            self._process.wait()

    def discard(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait()


def output_for(target: str | None) -> Output:
    """A file by its suffix, `-` for Ogg Opus on standard output, None for the loudspeaker. Raises: OutputFailed."""
    if target is None:
        return PlayerOutput()
    suffix = Path(target).suffix.lower()
    if target == "-" or suffix in (".ogg", ".opus"):
        return OggOutput(target)
    if suffix == ".wav":
        return WavOutput(target)
    raise OutputFailed(target, "the name must end in .ogg, .opus or .wav")
