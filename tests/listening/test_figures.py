"""The figures of the listening report, on sounds and words whose figures are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bark_stream.bark import Bark
from bark_stream.checkpoint import load_checkpoint
from bark_stream.precision import resolve_precision
from bark_stream.training.export import MAX_PROMPT_TOKENS, MIN_PROMPT_TOKENS
from bark_stream.training.voices import VOICES
from tests.listening.choose import Prompts, Tried, best
from tests.listening.made import Made
from tests.listening.measured import Row, summarise
from tests.listening.pictures import draw
from tests.listening.report import Report, write
from tests.listening.sound import jumps_db, longest_silence_s, loudness_db, pitch_hz, share_at, steps
from tests.listening.voices import LongText, num_clearly_different
from tests.listening.words import num_errors, words_of

RATE_HZ = 24_000


def _tone(hz: float, length_s: float, level: float = 0.1) -> np.ndarray:
    time_s = np.arange(round(length_s * RATE_HZ)) / RATE_HZ
    return (level * np.sin(2 * np.pi * hz * time_s)).astype(np.float32)


def _buzz(hz: float) -> np.ndarray:
    """Half a second of seven harmonics."""
    return sum((_tone(hz * n, 0.5, 0.1 / n) for n in range(1, 8)), np.zeros(RATE_HZ // 2, np.float32))


@pytest.mark.parametrize(
    ("wanted", "heard", "errors"),
    [
        ("The kitchen light is now on.", "the kitchen light is now on", 0),
        ("Okay, it is 5 o'clock.", "OK it is five oclock!", 0),
        ("[laughs] That is good.", "That is good", 0),
        ("I am sorry, I would rather see a doctor.", "I'm sorry, I'd rather see a Dr.", 0),
        ("The temperature is seventeen degrees.", "The temperature is 17 degrees.", 0),
        ("They would go.", "They will go.", 1),
        ("one two three", "one too", 2),
        ("", "thank you", 2),
    ],
)
def test_word_errors_count_what_differs_to_the_ear(wanted: str, heard: str, errors: int) -> None:
    """Spelling, contractions, sounds in brackets and numbers in digits are no errors; other words are."""
    assert num_errors(words_of(wanted), words_of(heard)) == errors


def test_silence_and_loudness_of_a_known_sound() -> None:
    """Two tones with 300 ms between them, at -23 dB."""
    pcm = np.concatenate([_tone(200, 0.5), np.zeros(7200, np.float32), _tone(200, 0.5)])
    assert longest_silence_s(pcm, RATE_HZ) == pytest.approx(0.3, abs=0.02)
    assert loudness_db(pcm, RATE_HZ) == pytest.approx(-23.0, abs=0.2)


def test_seams_show_a_jump_and_a_click() -> None:
    """A tone ten times louder after its middle jumps by 20 dB there and by nothing elsewhere."""
    pcm = np.concatenate([_tone(200, 0.5, 0.05), _tone(200, 0.5, 0.5)])
    assert jumps_db(pcm, RATE_HZ, np.array([12_000]))[0] == pytest.approx(20.0, abs=0.1)
    assert jumps_db(pcm, RATE_HZ, np.array([6_000]))[0] < 0.1
    assert steps(np.array([0, 0, 1, 1], np.float32), np.array([1, 2, 3])).tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize("hz", [95.0, 180.0, 310.0])
def test_pitch_of_a_buzz_is_its_own(hz: float) -> None:
    """Not an octave away, with harmonics as a voice has them."""
    assert np.median(pitch_hz(_buzz(hz), RATE_HZ)) == pytest.approx(hz, rel=0.02)


def test_share_of_a_pitch_counts_voiced_moments() -> None:
    """Half at the frame rate, half of a voice; noise that has no pitch counts as nothing."""
    both = np.concatenate([_buzz(75.0), _buzz(120.0)])
    assert share_at(pitch_hz(both, RATE_HZ), 75.0) == pytest.approx(0.5, abs=0.05)
    assert share_at(np.zeros(0), 75.0) == 0.0


def test_voices_alike_count_once() -> None:
    """Three voices of which two are the same are two."""
    a, b = np.array([1.0, 0.0], np.float32), np.array([0.0, 1.0], np.float32)
    assert num_clearly_different({"a": a, "b": b, "c": a}) == 2


def test_different_voices_are_counted_though_the_first_is_like_them_all() -> None:
    """The largest set counts, not the one that begins with the first voice."""
    apart = [np.eye(3, dtype=np.float32)[i] for i in range(3)]
    middle = np.full(3, 3**-0.5, np.float32)
    voices = {"middle": middle, "a": apart[0], "b": apart[1], "c": apart[2]}
    assert num_clearly_different(voices, limit=0.5) == 3


def test_report_and_pictures_are_written(tmp_path: Path) -> None:
    """Tables, JSON and a spectrogram of a clip too short for one window."""
    row = Row(
        "streamed", 3, "yes", "yes", 0, 1, 0.9, 0.0, -23.0, 0.25, 0.02, (1.0,), (2.0,), (0.1,), (0.2,), (), 0.1, 0.3
    )
    texts = [LongText(0.8, 0.84, 0.82, 1, 80), LongText(0.9, 0.86, 0.84, 2, 90)]
    report = Report("mini", [summarise([row])], [row], [], 0, {"en_speaker_0": texts}, [])
    write(report, tmp_path)
    written = (tmp_path / "report.md").read_text("utf-8")
    assert "| streamed | 1 | 0.0 % | 0.90 | 0.00 s | -23.0 dB | 25 % |" in written
    assert "| en_speaker_0 | 2 | 0.85 | 0.85 | 0.83 | 3 of 170 |" in written
    made = Made(_tone(200, 0.02), np.array([240]))
    draw(tmp_path / "clip.png", "yes", {"streamed": made.pcm}, made.seams, RATE_HZ)
    assert (tmp_path / "clip.png").stat().st_size > 1000


def test_best_prompts_are_those_with_the_smallest_share_of_errors() -> None:
    """Not with the fewest errors, for not all have spoken as much; before anything was heard all are alike."""
    heard = [Tried("m", "a", 0, 9, 5, 50), Tried("m", "a", 1, 9, 2, 50), Tried("m", "a", 2, 30, 3, 100)]
    assert [one.prompt for one in best(heard, 2)] == [2, 1]
    new = [Tried("m", "a", prompt, 0, 0, 0) for prompt in range(3)]
    assert best(new, 3) == new


def test_prompts_are_read_by_their_speaker_and_always_the_same(tmp_path: Path) -> None:
    """Number n is one and the same prompt, three to six seconds long; another number is another."""
    (tmp_path / "list.txt").write_text("The kettle sings in the kitchen.\nNobody came to the door that night.\n")
    bark = Bark(load_checkpoint("mini"), precision=resolve_precision("auto"))
    prompts = Prompts(bark, tmp_path / "list.txt")
    first, again, other = (prompts.make("v", VOICES[1], number) for number in (0, 0, 1))
    assert first == again != other
    assert MIN_PROMPT_TOKENS <= len(first.semantic) <= MAX_PROMPT_TOKENS
