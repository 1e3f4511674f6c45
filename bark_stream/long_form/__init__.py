"""Books and dialogues: text of any length into one sound file with captions; flat memory, resumable after a kill."""
