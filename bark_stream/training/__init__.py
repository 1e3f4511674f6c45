"""Training of the built-in model `mini`, and of any checkpoint folder from wav and text pairs.

Data flows down: texts -> teacher (audio and alignment) -> semantic tokens -> shards -> codec, stages ->
checkpoint folder.
"""
