"""Guidance of the coarse stage, learned once instead of computed at every step.

A stage that speaks freely listens to its own codes more than to the semantic tokens, and words are lost.
Classifier-free guidance (Ho and Salimans, 2022) moves each draw away from what the codes alone would go on to:

    log p = log p(code | semantic, codes) + (weight - 1) · (log p(code | semantic, codes) - log p(code | codes))

Whoever guides needs both models at every token. A third, which begins as the first, is taught what they say together
(distillation: Meng et al., 2023), and speaks alone. Knows no sound.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from bark_stream.config import ModelConfig
from bark_stream.training.coarse import CoarseBatch, CoarseTraining, coarse_hidden, codebook_rows, redrawn
from bark_stream.transformer import CausalGPT

WEIGHT = 2.0
"""1 would be no guidance."""
NUM_PADS = 4
"""Semantic slots that the model without semantic tokens is laid, all of them padding."""
PASSES = (0.25, 0.3, 0.25, 0.2)
"""How often the stage has drawn what it goes on from: not at all, once, twice, three times."""


@dataclass(frozen=True, slots=True)
class CoarseGuide:
    """What is taught: one model with semantic tokens, one that has learned to do without."""

    conditional: CausalGPT
    unconditional: CausalGPT
    weight: float = WEIGHT

    @torch.no_grad()
    def hidden(self, batch: CoarseBatch, config: ModelConfig, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """[B, T * 2, C] states of both models."""
        num_slots = config.coarse.max_semantic_tokens
        pads = torch.from_numpy(np.sort(rng.choice(num_slots, NUM_PADS, replace=False)))
        nothing = torch.full_like(batch.semantic, config.coarse.semantic_pad_token)
        return (
            coarse_hidden(self.conditional, config, batch.semantic, batch.slots, batch.inputs),
            coarse_hidden(self.unconditional, config, nothing, pads, batch.inputs),
        )

    @torch.no_grad()
    def log_probs(self, hidden: tuple[Tensor, Tensor], rows: slice) -> Tensor:
        """States [N, C] of both models -> [N, R] guided log-probabilities of a codebook's rows."""
        said = F.log_softmax(self.conditional.logits(hidden[0], rows), -1)
        unsaid = F.log_softmax(self.unconditional.logits(hidden[1], rows), -1)
        return F.log_softmax(said + (self.weight - 1) * (said - unsaid), -1)


class GuidedCoarseTraining:
    """Losses of a stage that is taught a guide's probabilities, step by step.

    After wrong codes, too, there is a right answer: what the guide would go on with. So the codes gone on from may be
    the stage's own, drawn all at once after what it drew before (Duckworth et al., 2019): after some passes they are
    nearly what it says freely.
    """

    def __init__(self, model: CausalGPT, guide: CoarseGuide, windows: CoarseTraining, config: ModelConfig) -> None:
        """Args: windows: where batches come from."""
        self._model = model
        self._guide = guide
        self._windows = windows
        self._config = config

    def __call__(self, step: int, rng: np.random.Generator) -> dict[str, Tensor]:
        """Losses of one step: loss, and of each codebook how far the guide is (KL, nats)."""
        config, num_codebooks = self._config, self._config.coarse.num_codebooks
        batch = self._windows.batch(rng)
        num_passes = int(rng.choice(len(PASSES), p=PASSES))
        share = rng.random() ** 0.5 if num_passes > 1 else rng.random()
        where = torch.from_numpy(rng.random((len(batch.inputs), batch.inputs.shape[1] // num_codebooks)) < share)
        for _ in range(num_passes):
            made = redrawn(self._model, config, batch.semantic, batch.slots, batch.inputs, where)
            batch = batch._replace(inputs=made)
        is_sound = batch.targets[:, ::num_codebooks] >= 0
        states = (
            coarse_hidden(self._model, config, batch.semantic, batch.slots, batch.inputs),
            *self._guide.hidden(batch, config, rng),
        )
        distances = []
        for codebook in range(num_codebooks):
            rows = codebook_rows(config, codebook)
            own, said, unsaid = (hidden[:, codebook::num_codebooks][is_sound] for hidden in states)
            log_probs = F.log_softmax(self._model.logits(own, rows), -1)
            wanted = self._guide.log_probs((said, unsaid), rows)
            distances.append(F.kl_div(log_probs, wanted, reduction="batchmean", log_target=True))
        return {"loss": torch.stack(distances).mean()} | {f"codebook_{i}": d for i, d in enumerate(distances)}
