"""What must be remembered to go on speaking: `SpeechState`, a value.

A sentence is a function of its text, its policy and this state, and gives the next state. Cancelling is dropping the
work; resuming, or moving to another machine, is speaking the sentence again from its state. Nothing else holds speech
state.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor

from bark_stream.codec import CodecState, ConvState, LayerState, LSTMState, OverlapState
from bark_stream.config import Carry, ModelConfig
from bark_stream.errors import ConfigError
from bark_stream.provenance import Provenance
from bark_stream.voice import Voice

ANCHORED_TAIL = 0.4
"""Share of what the semantic stage looks back on that `anchored` gives to the last sentence; the rest is the preset."""

_LAYER_TYPES: dict[str, type[LayerState]] = {t.__name__: t for t in (ConvState, OverlapState, LSTMState)}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class SpeechState:
    voice: Voice | None
    """The preset (history prompt) that the stream started with."""
    last: Voice | None = None
    """The end of the last sentence, in the same form."""
    codec: CodecState = field(default_factory=CodecState)
    past: NDArray[np.float32] | None = None
    """[NUM_TAPS - 1] what the equaliser of the voice's tone remembers; None before it has heard anything."""
    seed: int = 0
    num_sentences: int = 0
    """Spoken so far; with the seed it decides every draw of the next one."""
    num_samples: int = 0
    """Handed over so far: the stream's sample clock."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SpeechState) and self.to_bytes() == other.to_bytes()

    def __hash__(self) -> int:
        return hash((self.seed, self.num_sentences, self.num_samples))

    def generator(self, stage: str) -> torch.Generator:
        """The next sentence's generator for one stage: the same whatever else is being spoken, in any order."""
        words = f"{self.seed}/{self.num_sentences}/{stage}".encode()
        return torch.Generator().manual_seed(_digest(words))

    def history(self, carry: Carry) -> Voice | None:
        """What the next sentence sounds after: the coarse and the fine stage go on from it."""
        if self.last is None or carry == "voice":
            return self.voice
        if self.voice is None or carry == "last":
            return self.last
        return self.voice

    def semantic_history(self, carry: Carry, config: ModelConfig) -> NDArray[np.int64] | None:
        """[N] semantic tokens that the next sentence is said after."""
        if carry == "anchored" and self.voice is not None and self.last is not None:
            num_tail = int(config.semantic.max_history_tokens * ANCHORED_TAIL)
            return np.concatenate([self.voice.semantic, self.last.semantic[-num_tail:]])
        history = self.history(carry)
        return None if history is None else history.semantic

    def to_bytes(self) -> bytes:
        """Everything, as one safetensors blob of some tens of kB; equal states give equal bytes."""
        tensors: dict[str, Tensor] = {}
        facts: dict[str, Any] = {
            "seed": self.seed,
            "num_sentences": self.num_sentences,
            "num_samples": self.num_samples,
            "codec": [_pack(layer, f"codec.{i}", tensors) for i, layer in enumerate(self.codec.layers)],
        }
        for role, voice in (("voice", self.voice), ("last", self.last)):
            facts[role] = None if voice is None else voice.name
            if voice is not None:
                for part in ("semantic", "coarse", "fine"):
                    tensors[f"{role}.{part}"] = torch.from_numpy(getattr(voice, part).copy())
                if voice.tone is not None:
                    tensors[f"{role}.tone"] = torch.from_numpy(voice.tone.copy())
                if voice.provenance is not None:
                    facts[f"{role}_provenance"] = voice.provenance.to_bytes().decode("utf-8")
        if self.past is not None:
            tensors["past"] = torch.from_numpy(self.past.copy())
        return safetensors.torch.save(tensors, metadata={"state": json.dumps(facts, sort_keys=True)})

    @classmethod
    def from_bytes(cls, blob: bytes) -> SpeechState:
        """Raises: ConfigError if the blob is not a state."""
        try:
            tensors = safetensors.torch.load(blob)
            length = int.from_bytes(blob[:8], "little")
            facts = json.loads(json.loads(blob[8 : 8 + length])["__metadata__"]["state"])
            return cls(
                voice=_unpack_voice(facts, "voice", tensors),
                last=_unpack_voice(facts, "last", tensors),
                codec=CodecState([_unpack(kind, f"codec.{i}", tensors) for i, kind in enumerate(facts["codec"])]),
                past=tensors["past"].numpy() if "past" in tensors else None,
                seed=int(facts["seed"]),
                num_sentences=int(facts["num_sentences"]),
                num_samples=int(facts["num_samples"]),
            )
        except (ValueError, KeyError, TypeError, safetensors.SafetensorError) as exc:
            raise ConfigError("state", f"is not a speech state ({exc})") from exc


def _digest(words: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(words, digest_size=8).digest(), "little") >> 1


def _unpack_voice(facts: dict[str, Any], role: str, tensors: dict[str, Tensor]) -> Voice | None:
    if facts[role] is None:
        return None
    semantic, coarse, fine = (tensors[f"{role}.{part}"].numpy() for part in ("semantic", "coarse", "fine"))
    packed = facts.get(f"{role}_provenance")
    provenance = None if packed is None else Provenance.from_bytes(packed.encode("utf-8"))
    tone = tensors[f"{role}.tone"].numpy() if f"{role}.tone" in tensors else None
    return Voice(facts[role], semantic, coarse, fine, provenance, tone)


def _pack(layer: LayerState, name: str, tensors: dict[str, Tensor]) -> list[Any]:
    """Move a layer's tensors to `tensors`; return its type and what is not a tensor."""
    facts: dict[str, Any] = {}
    for item in dataclasses.fields(layer):
        value = getattr(layer, item.name)
        if isinstance(value, Tensor):
            tensors[f"{name}.{item.name}"] = value.contiguous()
        else:
            facts[item.name] = value
    return [type(layer).__name__, facts]


def _unpack(packed: list[Any], name: str, tensors: dict[str, Tensor]) -> LayerState:
    kind, facts = packed
    layer_type = _LAYER_TYPES[kind]
    values: dict[str, Any] = {
        item.name: facts[item.name] if item.name in facts else tensors[f"{name}.{item.name}"]
        for item in dataclasses.fields(layer_type)
    }
    return layer_type(**values)
