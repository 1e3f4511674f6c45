"""The browser client: one page and its modules. The server serves the files of this folder at `/`; no code is here."""
