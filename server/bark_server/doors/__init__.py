"""The server's doors: each turns what one protocol says into messages of a session, and its frames back again."""
