"""Which model a figure belongs to. Knows no figures."""

from __future__ import annotations

import hashlib

from bark_stream.checkpoint import Checkpoint


def weights_digest(checkpoint: Checkpoint) -> str:
    """Of all weights: another export is another model. Voices do not count."""
    digest = hashlib.sha256()
    for part in (checkpoint.semantic, checkpoint.coarse, checkpoint.fine, checkpoint.codec):
        for name in sorted(part):
            digest.update(name.encode())
            digest.update(part[name].contiguous().numpy().tobytes())
    return digest.hexdigest()
