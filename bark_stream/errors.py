"""Every error of the engine, one family with one root.

    BarkStreamError
    ├── ConfigError            a setting that cannot be right
    │   └── DeviceUnavailable  a device that is not there
    ├── CheckpointError        a model folder or file that cannot be used (names the tensor or member)
    │   ├── UnknownModel       no model of that name or path
    │   └── UnsafeCheckpoint   a pickle that asks for more than tensors
    ├── RequestError           the caller's text, voice or sound is at fault
    │   ├── EmptyText          nothing to say
    │   ├── TextTooLong        more than one sentence may hold
    │   ├── UnknownVoice       no voice of that name
    │   ├── BadVoice           a voice whose arrays do not fit Bark (names what is wrong)
    │   │   ├── BadVoiceName   a name that none can have
    │   │   └── VoiceExists    a name that is taken
    │   ├── MissingConsent     nobody said who agreed to a clone
    │   └── BadAudio           a sound that cannot be read
    │       └── BadSample      a sound that no voice can be made of
    │           ├── SampleTooShort, SampleTooLong, SampleSilent
    │           └── SampleClipped, SampleNoisy, SeveralSpeakers
    ├── OutputError            a file that cannot be written, a format that is not known
    ├── DownloadError          a model that could not be fetched
    └── EngineError            our own fault: a state that cannot be

Facts are attributes; the text is `str(error)`; `code` is stable and goes over the wire.
"""

from __future__ import annotations

from typing import ClassVar


class BarkStreamError(Exception):
    """Root of the family. `code` names the kind of error for programs."""

    code: ClassVar[str] = "internal"


class _ProblemWith(BarkStreamError):
    """What is at fault, by name, and what is wrong with it."""

    def __init__(self, source: str, problem: str) -> None:
        super().__init__(source, problem)
        self.source = source
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.source}: {self.problem}"


class ConfigError(_ProblemWith):
    """`source` is the setting."""

    code = "bad_config"


class DeviceUnavailable(ConfigError):
    code = "device_unavailable"

    def __init__(self, device: str, problem: str) -> None:
        super().__init__(device, problem)
        self.device = device


class CheckpointError(_ProblemWith):
    code = "bad_checkpoint"


class UnknownModel(CheckpointError):
    code = "unknown_model"


class UnsafeCheckpoint(CheckpointError):
    code = "unsafe_checkpoint"


class RequestError(BarkStreamError):
    code = "bad_request"


class EmptyText(RequestError):
    code = "empty_text"

    def __str__(self) -> str:
        return "the text holds nothing that can be spoken"


class TextTooLong(RequestError):
    code = "text_too_long"

    def __init__(self, num_tokens: int, max_tokens: int) -> None:
        super().__init__(num_tokens, max_tokens)
        self.num_tokens = num_tokens
        self.max_tokens = max_tokens

    def __str__(self) -> str:
        return f"the sentence has {self.num_tokens} text tokens; the model takes {self.max_tokens}"


class UnknownVoice(RequestError):
    code = "unknown_voice"

    def __init__(self, voice: str, known: tuple[str, ...] = ()) -> None:
        super().__init__(voice, known)
        self.voice = voice
        self.known = known

    def __str__(self) -> str:
        some = ", ".join(self.known[:8]) + (", …" if len(self.known) > 8 else "")
        return f"no voice is named {self.voice!r}" + (f"; there are {some}" if some else "")


class BadVoice(_ProblemWith, RequestError):
    code = "bad_voice"

    def __str__(self) -> str:
        return f"voice {self.source}: {self.problem}"


class BadVoiceName(BadVoice):
    code = "bad_voice_name"


class VoiceExists(BadVoice):
    code = "voice_exists"

    def __init__(self, voice: str) -> None:
        super().__init__(voice, "exists already")


class MissingConsent(RequestError):
    code = "missing_consent"

    def __str__(self) -> str:
        return "a voice is cloned only with a consent: say who agreed, and when"


class BadAudio(_ProblemWith, RequestError):
    code = "bad_audio"


class BadSample(BadAudio):
    code = "bad_sample"


class SampleTooShort(BadSample):
    code = "sample_too_short"

    def __init__(self, source: str, speech_s: float, min_s: float) -> None:
        super().__init__(source, f"holds {speech_s:.1f} s of speech; at least {min_s:g} s are needed")
        self.speech_s = speech_s
        self.min_s = min_s


class SampleTooLong(BadSample):
    code = "sample_too_long"

    def __init__(self, source: str, speech_s: float, max_s: float) -> None:
        super().__init__(source, f"holds {speech_s:.1f} s of speech; at most {max_s:g} s are taken, so cut it")
        self.speech_s = speech_s
        self.max_s = max_s


class SampleSilent(BadSample):
    code = "sample_silent"

    def __init__(self, source: str, level_db: float) -> None:
        super().__init__(source, f"is silent: even its loud parts lie at {level_db:.0f} dB below full scale")
        self.level_db = level_db


class SampleClipped(BadSample):
    code = "sample_clipped"

    def __init__(self, source: str, clipped_share: float) -> None:
        super().__init__(source, f"is clipped: {clipped_share:.1%} of it hits the ceiling; record it more softly")
        self.clipped_share = clipped_share


class SampleNoisy(BadSample):
    code = "sample_noisy"

    def __init__(self, source: str, snr_db: float, min_snr_db: float) -> None:
        super().__init__(
            source, f"is noisy: speech is {snr_db:.0f} dB above the background; {min_snr_db:g} dB are needed"
        )
        self.snr_db = snr_db
        self.min_snr_db = min_snr_db


class SeveralSpeakers(BadSample):
    code = "several_speakers"

    def __init__(self, source: str, at_s: float) -> None:
        super().__init__(source, f"seems to hold more than one speaker; another one begins at {at_s:.1f} s")
        self.at_s = at_s


class OutputError(_ProblemWith):
    code = "bad_output"


class DownloadError(_ProblemWith):
    code = "download_failed"


class EngineError(BarkStreamError):
    code = "internal"
