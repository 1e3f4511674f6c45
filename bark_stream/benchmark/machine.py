"""Where and on what a benchmark ran: figures mean nothing without it."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import torch

from bark_stream.device import DeviceKind

_UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    processor: str
    gpu: str | None
    """That the model computes on, if it does."""
    num_cores: int
    """That this process may use."""
    torch: str
    num_threads: int
    """Of torch."""
    commit: str
    """Of the source, with a plus if it was changed since; unknown outside of a git checkout."""


def this_machine(device: DeviceKind = "cpu") -> Machine:
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(
        processor=f"{_processor()} ({torch.backends.cpu.get_cpu_capability()})",
        gpu=torch.cuda.get_device_name() if device == "cuda" else None,
        num_cores=num_cores,
        torch=torch.__version__,
        num_threads=torch.get_num_threads(),
        commit=_commit(Path(__file__).parent),
    )


def peak_bytes() -> int:
    """The most memory that this process ever held, what is mapped from files included."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def device_peak_bytes(device: DeviceKind) -> int | None:
    """The most memory that tensors ever took on a GPU; None on a processor."""
    return torch.cuda.max_memory_allocated() if device == "cuda" else None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())


def _commit(folder: Path) -> str:
    commit = _git(folder, "rev-parse", "--short", "HEAD")
    if not commit:
        return _UNKNOWN
    return commit + ("+" if _git(folder, "status", "--porcelain", "--untracked-files=no", ".") else "")


def _git(folder: Path, *arguments: str) -> str:
    """What git answers; nothing where there is no git, or no checkout."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
