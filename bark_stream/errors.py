"""Every error of the engine, one family with one root.

    BarkStreamError
    ├── ConfigError            a setting that cannot be right
    ├── CheckpointError        a model folder or file that cannot be used (names the tensor or member)
    │   ├── UnknownModel       no model of that name or path
    │   └── UnsafeCheckpoint   a pickle that asks for more than tensors
    ├── RequestError           the caller's text, voice or sound is at fault
    │   ├── EmptyText          nothing to say
    │   ├── TextTooLong        more than one sentence may hold
    │   ├── UnknownVoice       no voice of that name
    │   ├── BadVoice           a voice whose arrays do not fit Bark (names what is wrong)
    │   └── BadAudio           a sound that cannot be read
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


class BadAudio(_ProblemWith, RequestError):
    code = "bad_audio"


class OutputError(_ProblemWith):
    code = "bad_output"


class DownloadError(_ProblemWith):
    code = "download_failed"


class EngineError(BarkStreamError):
    code = "internal"
