"""Phones -> mouth shapes, for faces that speak. The fifteen shapes are those of Oculus Lipsync, which game engines and
avatars share. Knows only models whose semantic tokens stand for phones."""

from __future__ import annotations

SHAPE_OF_PHONE: dict[str, str] = {
    **dict.fromkeys(("silence", "pause", "gap"), "sil"),
    **dict.fromkeys(("p", "b", "m"), "PP"),
    **dict.fromkeys(("f", "v"), "FF"),
    **dict.fromkeys(("θ", "ð"), "TH"),
    **dict.fromkeys(("t", "d", "T"), "DD"),
    **dict.fromkeys(("k", "ɡ", "h", "ŋ"), "kk"),
    **dict.fromkeys(("ʃ", "ʒ", "ʧ", "ʤ", "j"), "CH"),
    **dict.fromkeys(("s", "z"), "SS"),
    **dict.fromkeys(("n", "l"), "nn"),
    **dict.fromkeys(("ɹ", "ɜ"), "RR"),
    **dict.fromkeys(("æ", "ɑ", "I", "W", "ʌ", "ɐ", "ə", "ᵊ"), "aa"),
    **dict.fromkeys(("A", "ɛ"), "E"),
    **dict.fromkeys(("i", "ɪ", "ᵻ"), "ih"),
    **dict.fromkeys(("ɔ", "O", "Y"), "oh"),
    **dict.fromkeys(("u", "ʊ", "w"), "ou"),
    **dict.fromkeys(("[laughs]", "[gasps]"), "aa"),
    **dict.fromkeys(("[sighs]", "[music]"), "oh"),
    "[clears throat]": "kk",
}
"""One letter per phone as misaki and the teacher write them; capitals are diphthongs, T a flap."""
SILENT = "sil"
SHAPES = tuple(sorted(set(SHAPE_OF_PHONE.values())))
STRESS = "ˈ"


def shape_of(phone: str) -> str:
    """The mouth while a phone sounds; of an unknown one, closed."""
    return SHAPE_OF_PHONE.get(phone.removeprefix(STRESS), SILENT)
