"""Sound -> Bark's semantic tokens by HuBERT's ninth layer and a published quantizer.

HuBERT comes from `transformers` (the extra `clone`), out of a local folder or by its name on the Hugging Face Hub, as
does the quantizer.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bark_stream.cloning.quantizer import Quantizer, load_quantizer
from bark_stream.errors import CheckpointError, ConfigError, DownloadError
from bark_stream.resample import resample

LAYER = 9
RATE_HZ = 16_000
HUBERT = "facebook/hubert-base-ls960"
QUANTIZER = "GitMylo/bark-voice-cloning/quantifier_hubert_base_ls960_14.pth"
"""Repository and file; for English. Others are published for German, Polish, Spanish, …"""


class HubertEncoder:
    def __init__(self, hubert: Any, quantizer: Quantizer, name: str) -> None:
        """Args: hubert: a `transformers.HubertModel`; name: for provenance.

        Raises: CheckpointError if the two do not fit each other.
        """
        if hubert.config.num_hidden_layers < LAYER:
            raise CheckpointError(name, f"has {hubert.config.num_hidden_layers} layers; the {LAYER}th is needed")
        if hubert.config.hidden_size != quantizer.config.input_size:
            raise CheckpointError(
                name,
                f"has features of {hubert.config.hidden_size}; the quantizer takes {quantizer.config.input_size}",
            )
        self._hubert = hubert.eval().requires_grad_(False)
        self._quantizer = quantizer
        self._name = name

    @property
    def name(self) -> str:
        return self._name

    @property
    def num_tokens(self) -> int:
        return self._quantizer.config.output_size

    @torch.inference_mode()
    def scores(self, pcm: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
        """[T] float32 mono, -1 … 1 -> [N, V] log-probabilities of the semantic tokens."""
        sound = torch.from_numpy(resample(pcm, rate_hz, RATE_HZ))[None]
        features = self._hubert(sound, output_hidden_states=True).hidden_states[LAYER]
        return np.asarray(self._quantizer.scores(features)[0].numpy())


def load_hubert_encoder(hubert: str = HUBERT, quantizer: str = QUANTIZER) -> HubertEncoder:
    """Args:
        hubert: a folder as `transformers` writes it, or a name on the Hub.
        quantizer: a file, or `owner/repository/file` on the Hub.
    Raises: ConfigError without the extra `clone`; CheckpointError; UnsafeCheckpoint; DownloadError.
    """
    hubert_model = _hubert_model()
    checked = load_quantizer(_quantizer_file(quantizer))
    try:
        model = hubert_model.from_pretrained(hubert)
    except (OSError, ValueError, KeyError, RuntimeError) as exc:
        raise CheckpointError(hubert, f"is no HuBERT that can be read: {str(exc).splitlines()[0]}") from exc
    return HubertEncoder(model, checked, f"{hubert} layer {LAYER} + {Path(quantizer).name}")


def _hubert_model() -> Any:
    """transformers' class. It imports any torchaudio that is installed, but asks nothing of it; one that cannot be
    loaded, such as a CUDA build beside a CPU torch, is hidden meanwhile."""
    with ExitStack() as stack:
        try:
            importlib.import_module("torchaudio")
        except (ImportError, OSError, RuntimeError):
            stack.enter_context(_hidden("torchaudio"))
        try:
            return importlib.import_module("transformers").HubertModel
        except ModuleNotFoundError as missing:
            raise ConfigError(
                "clone", "needs transformers for this model: pip install 'bark-stream[clone]'"
            ) from missing


@contextmanager
def _hidden(name: str) -> Iterator[None]:
    modules: dict[str, Any] = sys.modules
    before = {key: modules.pop(key) for key in list(modules) if key == name or key.startswith(f"{name}.")}
    modules[name] = None
    try:
        yield
    finally:
        del modules[name]
        modules.update(before)


def _quantizer_file(quantizer: str) -> Path:
    if Path(quantizer).is_file():
        return Path(quantizer)
    owner, _, rest = quantizer.partition("/")
    repository, _, file = rest.partition("/")
    if not file or Path(quantizer).is_absolute():
        raise CheckpointError(quantizer, "does not exist, and is no owner/repository/file of the Hugging Face Hub")
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(hf_hub_download(f"{owner}/{repository}", file))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as exc:
        raise DownloadError(quantizer, str(exc).splitlines()[0]) from exc
    except HFValidationError as exc:
        raise CheckpointError(quantizer, "does not exist, and is no name on the Hugging Face Hub") from exc
