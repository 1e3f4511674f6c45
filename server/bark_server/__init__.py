"""The streaming server: text in, Opus out while the sentence is still being thought of. Knows no torch."""
