"""Checkpoint -> the three transformers. Every tensor must be there, fit, and belong."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeAlias, TypeVar, cast

import torch
from torch import Tensor, nn

from bark_stream.checkpoint.checkpoint import Checkpoint, StateDict
from bark_stream.checkpoint.storage import StoredWeights
from bark_stream.codec import check_weights
from bark_stream.config import ModelConfig, TransformerConfig
from bark_stream.errors import CheckpointError
from bark_stream.precision import Precision
from bark_stream.transformer import CausalGPT, FineGPT
from bark_stream.uninitialised import NoInitialisation

ModelT = TypeVar("ModelT", CausalGPT, FineGPT)
AlignmentHeads: TypeAlias = tuple[tuple[int, int], ...]


class Models(NamedTuple):
    semantic: CausalGPT
    coarse: CausalGPT
    fine: FineGPT


def build_models(
    checkpoint: Checkpoint,
    precision: Precision = "float32",
    *,
    num_threads: int = 1,
    device: torch.device | str = "cpu",
) -> Models:
    """The transformers, ready for inference. In float32 on the CPU they share the checkpoint's memory.

    Args:
        num_threads: of int8 layers, which have threads of their own.
        device: of the other precisions; int8 computes on the CPU.
    Raises: CheckpointError that names a missing, unknown or misshapen tensor.
    """
    config, source = checkpoint.config, checkpoint.source

    dtype = torch.bfloat16 if precision == "bfloat16" else torch.float32

    def causal(transformer: TransformerConfig, rows: slice, weights: StateDict, stage: str) -> CausalGPT:
        model = _empty(lambda: CausalGPT(transformer, rows), weights, f"{source} ({stage})")
        if precision == "int8":
            is_semantic = stage == "semantic"
            watched = config.semantic.alignment_heads if is_semantic else ()
            _use_decode_graph(model, weights, watched, num_threads, is_semantic=is_semantic)
        return _fill(model, weights, dtype, device)

    def fine() -> FineGPT:
        model = _empty(lambda: new_fine_model(config), checkpoint.fine, f"{source} (fine)")
        if precision == "int8":
            _use_fine_graph(model, checkpoint.fine, num_threads)
        return _fill(model, checkpoint.fine, dtype, device)

    return Models(
        causal(config.semantic.transformer, config.semantic.drawn_rows, checkpoint.semantic, "semantic"),
        causal(config.coarse.transformer, config.coarse_rows, checkpoint.coarse, "coarse"),
        fine(),
    )


def check_tensors(checkpoint: Checkpoint) -> Checkpoint:
    """Whether all four parts hold exactly the tensors of their configuration.

    Returns: the checkpoint itself.
    Raises: CheckpointError that names the tensor.
    """
    config, source = checkpoint.config, checkpoint.source
    with torch.device("meta"), NoInitialisation():
        transformers: tuple[tuple[str, nn.Module, StateDict], ...] = (
            ("semantic", CausalGPT(config.semantic.transformer), checkpoint.semantic),
            ("coarse", CausalGPT(config.coarse.transformer), checkpoint.coarse),
            ("fine", new_fine_model(config), checkpoint.fine),
        )
    for name, module, weights in transformers:
        _check(_own_tensors(module), weights, f"{source} ({name})")
    check_weights(config.codec, checkpoint.codec, f"{source} (codec)")
    return checkpoint


def with_tied_heads(weights: StateDict, config: ModelConfig) -> dict[str, Tensor]:
    """The fine state dict with `lm_heads.i` beside the table `wtes.i+1` it is tied to, the same tensor."""
    tied = dict(weights)
    for head, table in tied_heads(config).items():
        if table in tied:
            tied[head] = tied[table]
    return tied


def without_tied_heads(weights: StateDict, config: ModelConfig, source: str) -> StateDict:
    """The fine state dict without its heads.

    Raises: CheckpointError if a head is not the table that it is tied to (Suno's model_fine.py).
    """
    heads = [head for head in tied_heads(config) if head in weights]
    for head in heads:
        table = tied_heads(config)[head]
        if table in weights and not torch.equal(weights[head], weights[table]):
            raise CheckpointError(source, f"tensor {head} differs from {table}, to which it is tied")
    return {name: tensor for name, tensor in weights.items() if name not in heads} if heads else weights


def tied_heads(config: ModelConfig) -> dict[str, str]:
    given, total = config.fine.num_codebooks_given, config.fine.num_codebooks
    return {f"lm_heads.{i}.weight": f"transformer.wtes.{i + 1}.weight" for i in range(total - given)}


def new_fine_model(config: ModelConfig) -> FineGPT:
    return FineGPT(
        config.fine.transformer,
        num_codebooks=config.fine.num_codebooks,
        num_codebooks_given=config.fine.num_codebooks_given,
    )


def _empty(create: Callable[[], ModelT], weights: StateDict, source: str) -> ModelT:
    """The model without storage, if the weights are exactly its own."""
    with torch.device("meta"), NoInitialisation():
        model = create()
    _check(_own_tensors(model), weights, source)
    return model


def _own_tensors(module: nn.Module) -> dict[str, Tensor]:
    """The state dict without heads, if they are tied to tables."""
    is_tied = isinstance(module, FineGPT)
    return {name: t for name, t in module.state_dict().items() if not (is_tied and name.startswith("lm_heads."))}


def _use_decode_graph(
    model: CausalGPT, weights: StateDict, watched: AlignmentHeads, num_threads: int, *, is_semantic: bool
) -> None:
    from bark_stream.int8_decoder import Int8Decoder  # half a second that other precisions need not wait for

    # The semantic stage decides the words, and takes few steps.
    model.graph = Int8Decoder(
        model.config,
        weights,
        model.rows,
        watched_layers=frozenset(layer for layer, _ in watched),
        activation_bits=8 if is_semantic else 7,
        num_threads=num_threads,
    )
    del model.transformer, model.lm_head


def _use_fine_graph(model: FineGPT, weights: StateDict, num_threads: int) -> None:
    from bark_stream.int8_fine import Int8Fine

    model.layers = Int8Fine(model.config, weights, num_threads=num_threads)
    del model.transformer["h"], model.transformer["ln_f"]


def _fill(model: ModelT, weights: StateDict, dtype: torch.dtype, device: torch.device | str) -> ModelT:
    model.load_state_dict({name: weights[name] for name in _own_tensors(model)}, assign=True, strict=False)
    if isinstance(model, FineGPT):
        wtes = cast(nn.ModuleList, model.transformer["wtes"])
        for index, head in enumerate(model.lm_heads):
            head.weight = wtes[index + 1].weight
    return model.eval().requires_grad_(False).to(device, dtype)


def _check(expected: Mapping[str, Tensor], weights: StateDict, source: str) -> None:
    for name, tensor in expected.items():
        if name not in weights:
            raise CheckpointError(source, f"tensor {name} is missing")
        shape = weights.shape(name) if isinstance(weights, StoredWeights) else weights[name].shape
        if shape != tensor.shape:
            raise CheckpointError(source, f"tensor {name} is {list(shape)}, not {list(tensor.shape)}")
    for name in weights:
        if name not in expected:
            raise CheckpointError(source, f"tensor {name} is not part of the model")
