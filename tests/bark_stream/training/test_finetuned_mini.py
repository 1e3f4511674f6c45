"""Fine-tuning heard by number: ten sentences of a speaker that `mini` never met, and whom it sounds like afterwards."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from bark_stream.audio_file import read_audio
from bark_stream.bark import load
from bark_stream.training.corpus import held_out_sentences
from bark_stream.training.finetune import FinetuneConfig, finetune
from bark_stream.training.finetune_losses import FinetuneBatch

NUM_SENTENCES = 10
TEXT = "The kitchen light is now on. My sister is coming to visit us next weekend."
CONFIG = FinetuneConfig(
    num_steps=160,
    learning_rate=3e-3,
    stages=("coarse", "fine"),
    batch=FinetuneBatch(num_rows=2, fine_frames=160, alone_share=0.6),
)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.filterwarnings("ignore")
def test_finetuned_mini_sounds_like_the_recordings(tmp_path: Path) -> None:
    """Similarity to the new speaker rises well above what the model began with."""
    if shutil.which("flite") is None:
        pytest.skip("needs Debian's flite")
    from tests.listening.similarity import SpeakerEar

    torch.set_num_threads(1)
    try:
        ear = SpeakerEar()
    except ImportError as missing:
        pytest.skip(f"needs the extra `listen`: {missing}")
    recordings = tmp_path / "recordings"
    recordings.mkdir()
    with (recordings / "metadata.txt").open("w") as metadata:
        for number, sentence in enumerate(held_out_sentences()[:NUM_SENTENCES]):
            wav = recordings / f"{number}.wav"
            subprocess.run(["flite", "-voice", "rms", "-t", sentence, "-o", str(wav)], check=True)
            metadata.write(f"{wav.name}|{sentence}\n")
    pcm, rate_hz = zip(*(read_audio(wav) for wav in sorted(recordings.glob("*.wav"))), strict=True)
    person = ear.embed(np.concatenate(pcm), rate_hz[0])
    finetune("mini", recordings, tmp_path / "work", tmp_path / "model", CONFIG)
    before, after = (load(model).generate(TEXT, seed=3) for model in ("mini", tmp_path / "model"))
    assert float(ear.embed(after, 24_000) @ person) > float(ear.embed(before, 24_000) @ person) + 0.05
