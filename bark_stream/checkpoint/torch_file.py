"""Files of `torch.save`. They are pickles, which can ask for anything; only tensors and plain values are given.

torch's restricted unpickler does the refusing. One thing is allowed beyond it: a numpy scalar, which Suno's files hold
(`best_val_loss`).
"""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bark_stream.errors import CheckpointError, UnsafeCheckpoint

_SCALAR: Any = np.float32(0).__reduce__()[0]  # its own name moved between numpy 1 and 2
_SAFE_GLOBALS: list[Any] = [
    (_SCALAR, "numpy.core.multiarray.scalar"),
    (_SCALAR, "numpy._core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(name)) for name in ("float16", "float32", "float64", "int32", "int64")),
]
_REFUSED = re.compile(r"GLOBAL (\w[\w.]+)|[Uu]nsupported class (\S+)|unrecognized function (\S+)")
"""In torch's message: what the file asked for."""


def read_torch_file(path: Path) -> Any:
    """What `torch.save` wrote, its tensors on the CPU, mapped into memory where the file allows it.

    Raises: UnsafeCheckpoint if the file asks for anything but tensors, and nothing of it has run then;
        CheckpointError if it is missing, truncated or something else.
    """
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_SAFE_GLOBALS):
            warnings.simplefilter("ignore")  # about pickle protocols; what matters is raised
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as exc:
        refused = _REFUSED.search(str(exc))
        if refused:
            asked = next(group for group in refused.groups() if group)
            raise UnsafeCheckpoint(str(path), f"asks for {asked}, not only for tensors; it is not loaded") from exc
        raise CheckpointError(str(path), "is truncated or no torch file") from exc
    except OSError as exc:
        raise CheckpointError(str(path), exc.strerror or str(exc)) from exc
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError) as exc:
        raise CheckpointError(str(path), "is truncated or no torch file") from exc
