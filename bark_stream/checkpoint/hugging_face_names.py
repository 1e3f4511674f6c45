"""Hugging Face's names of Bark's and EnCodec's tensors -> Suno's and encodec's.

Source of the pairs: transformers' convert_suno_to_hf.py and convert_encodec_checkpoint_to_pytorch.py.
"""

from __future__ import annotations

import re

_TRANSFORMER = (
    (r"^input_embeds_layers\.", "transformer.wtes."),
    (r"^input_embeds_layer\.", "transformer.wte."),
    (r"^position_embeds_layer\.", "transformer.wpe."),
    (r"^layernorm_final\.", "transformer.ln_f."),
    (r"^layers\.", "transformer.h."),
    (r"\.layernorm_([12])\.", r".ln_\1."),
    (r"\.att_proj\.", ".c_attn."),
    (r"\.in_proj\.", ".c_fc."),
    (r"\.out_proj\.", ".c_proj."),
)
_CODEC = (
    (r"\.parametrizations\.weight\.original0$", ".weight_g"),
    (r"\.parametrizations\.weight\.original1$", ".weight_v"),
    (r"^quantizer\.layers\.(\d+)\.codebook\.", r"quantizer.vq.layers.\1._codebook."),
    (r"^(encoder|decoder)\.layers\.", r"\1.model."),
    (r"\.conv\.(weight_g|weight_v|bias)$", r".conv.conv.\1"),
)
_DECODER_CONV = re.compile(r"^decoder\.model\.(\d+)\.conv\.conv\.")


def suno_name(name: str) -> str:
    """`layers.0.attn.att_proj.weight` -> `transformer.h.0.attn.c_attn.weight`."""
    return _renamed(name, _TRANSFORMER)


def encodec_name(name: str, num_ratios: int) -> str:
    """`decoder.layers.3.conv.weight_g` -> `decoder.model.3.convtr.convtr.weight_g`; weight norm in torch's old or new
    form. num_ratios: upsampling layers, which stand at 3, 6, 9 …"""
    name = _renamed(name, _CODEC)
    found = _DECODER_CONV.match(name)
    if found and int(found[1]) % 3 == 0 and 1 <= int(found[1]) // 3 <= num_ratios:
        return name.replace(".conv.conv.", ".convtr.convtr.")
    return name


def _renamed(name: str, pairs: tuple[tuple[str, str], ...]) -> str:
    for pattern, replacement in pairs:
        name = re.sub(pattern, replacement, name)
    return name
