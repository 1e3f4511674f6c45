"""Promises of `bark_stream.device`, and that everything a model computes lies where it was asked to.

Where there is no GPU, torch's `meta` device stands in for one: tensors without numbers, which are refused wherever they
meet a tensor of the processor, just as a GPU's are. So the way of every tensor is tested here, and its numbers only
where there is a GPU.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bark_stream import load
from bark_stream.bark import Bark, Speech
from bark_stream.checkpoint import Checkpoint, random_checkpoint
from bark_stream.cli import main
from bark_stream.config import ChunkPolicy, SamplingConfig
from bark_stream.device import resolve_device
from bark_stream.errors import ConfigError, DeviceUnavailable
from bark_stream.precision import Precision, resolve_precision
from bark_stream.sentence_run import Stage
from bark_stream.state import SpeechState

POLICY = ChunkPolicy(
    chunk_frames=(10, 20), min_budget_s=0.25, max_s_per_character=0.001, trim_leading_silence=False, max_silence_s=None
)
HAS_GPU = torch.cuda.is_available()
needs_gpu = pytest.mark.skipif(not HAS_GPU, reason="torch sees no GPU here")


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    return random_checkpoint("tiny", seed=6)


def speak(checkpoint: Checkpoint, precision: Precision = "float32", device: torch.device | str | None = None) -> Speech:
    """A quarter of a second, greedy."""
    bark = (
        Bark(checkpoint, precision=precision)
        if device is None
        else Bark(checkpoint, precision=precision, device=device)
    )
    return bark.synthesize("Hello there.", voice="en_speaker_0", policy=POLICY, sampling=SamplingConfig.greedy())


def test_resolve_device_of_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names mean themselves; `auto` is the GPU where there is one."""
    for has_gpu, expected in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda has_gpu=has_gpu: has_gpu)
        assert resolve_device("auto") == expected
        assert resolve_device("cpu") == "cpu"


def test_resolve_device_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of its own code says what is missing; an unknown name is answered with the choices."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceUnavailable, match="cuda: the torch that is installed") as caught:
        load("mini", device="cuda")
    assert caught.value.code == "device_unavailable"
    with pytest.raises(ConfigError, match="auto, cpu, cuda"):
        resolve_device("tpu")


@pytest.mark.parametrize("command", [("say", "Hello."), ("bench",), ("serve",)])
def test_command_for_a_device_that_is_not_there(
    command: Sequence[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One clear line and status 2, whoever is asked."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    options = ("--port", "0") if command == ("serve",) else ()
    assert main([*command, "--device", "cuda", *options]) == 2
    assert "cuda: the torch that is installed" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(("has_bfloat16", "expected"), [(True, "bfloat16"), (False, "float32")])
def test_precision_of_a_gpu(monkeypatch: pytest.MonkeyPatch, has_bfloat16: bool, expected: str) -> None:
    """`auto` is bfloat16 where the GPU has it; int8, which is made for processors, is refused."""
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bfloat16)
    assert resolve_precision("auto", "cuda") == expected
    assert resolve_precision("float32", "cuda") == "float32"
    with pytest.raises(ConfigError, match="processors"):
        resolve_precision("int8", "cuda")
    if not has_bfloat16:
        with pytest.raises(ConfigError, match="capability 8"):
            resolve_precision("bfloat16", "cuda")


def test_device_named_is_the_default_one(checkpoint: Checkpoint) -> None:
    """The processor, asked for by name, speaks as if it had not been asked for."""
    default, named = speak(checkpoint), speak(checkpoint, device=torch.device("cpu"))
    assert default.prompt == named.prompt
    np.testing.assert_array_equal(default.pcm, named.pcm)


def test_bfloat16_speaks_as_long(checkpoint: Checkpoint) -> None:
    """The path of GPUs in their own precision, on the processor: other tokens, as many of them."""
    exact, rough = speak(checkpoint), speak(checkpoint, "bfloat16", "cpu")
    assert len(rough.pcm) == len(exact.pcm)
    assert np.isfinite(rough.pcm).all()


class OneDevice(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Refuses every operation whose tensors lie on different devices; single numbers may lie anywhere, as in CUDA."""

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors = (leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor))
        devices = {tensor.device.type for tensor in tensors if tensor.ndim}
        assert len(devices) <= 1, f"{func} on {devices}"
        return func(*args, **kwargs)


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often tensors came back from the device that stands in for a GPU, by their last axis; they come as zeros."""
    counts: Counter[int] = Counter()
    fetch = Tensor.cpu

    def cpu(tensor: Tensor) -> Tensor:
        if tensor.device.type == "cpu":
            return fetch(tensor)
        counts[tensor.shape[-1]] += 1
        return torch.zeros(tensor.shape, dtype=tensor.dtype)

    monkeypatch.setattr(Tensor, "cpu", cpu)
    return counts


def test_every_tensor_lies_on_the_device(checkpoint: Checkpoint, fetched: Counter[int]) -> None:
    """Weights, keys and values, codec and its states: nothing of the processor's gets between them, and each step of a
    stage brings its logits back once."""
    config = checkpoint.config
    with OneDevice():  # type: ignore[no-untyped-call]
        speech = speak(checkpoint, "bfloat16", "meta")
    assert len(speech.pcm)
    steps = {stage: spent.num_steps for stage, spent in speech.times.items()}
    assert fetched.pop(config.semantic.pad_token + 1) == steps[Stage.SEMANTIC]
    assert fetched.pop(config.coarse.num_codebooks * config.codec.codebook_size) == steps[Stage.COARSE]
    assert fetched.pop(config.codec.codebook_size) == steps[Stage.FINE]
    # The warming of the voice, and the end of the stream.
    assert sum(fetched.values()) == steps[Stage.CODEC] + 2


@needs_gpu
def test_gpu_speaks_what_the_processor_speaks(checkpoint: Checkpoint) -> None:
    """In float32 the tokens are the same and the sound nearly; bfloat16 speaks as long."""
    expected, actual = speak(checkpoint), speak(checkpoint, device="cuda")
    assert actual.prompt == expected.prompt
    np.testing.assert_allclose(actual.pcm, expected.pcm, atol=0.02)
    assert len(speak(checkpoint, "bfloat16", "cuda").pcm) == len(expected.pcm)


@needs_gpu
def test_gpu_state_speaks_on_anywhere(checkpoint: Checkpoint) -> None:
    """A state that was packed on a GPU goes on there and on a processor."""
    gpu, cpu = (Bark(checkpoint, device=device) for device in ("cuda", "cpu"))
    speech = gpu.synthesize("One.", voice="en_speaker_0", policy=POLICY)
    state = SpeechState.from_bytes(speech.state.to_bytes())
    for bark in (gpu, cpu):
        sentence = next(bark.sentences("And two.", POLICY))
        assert list(bark.speak(sentence, state, policy=POLICY))
