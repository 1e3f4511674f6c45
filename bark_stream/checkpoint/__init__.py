"""Checkpoints: read in any of their formats, checked, written in ours."""

from bark_stream.checkpoint.checkpoint import Checkpoint
from bark_stream.checkpoint.folder import save_checkpoint
from bark_stream.checkpoint.load import load_checkpoint
from bark_stream.checkpoint.models import Models, build_models
from bark_stream.checkpoint.random_model import random_checkpoint

__all__ = ["Checkpoint", "Models", "build_models", "load_checkpoint", "random_checkpoint", "save_checkpoint"]
