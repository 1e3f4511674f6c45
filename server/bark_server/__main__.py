"""`python -m bark_server`: the same as `bark-stream serve`."""

from __future__ import annotations

import sys

from bark_stream.cli import main

if __name__ == "__main__":
    sys.exit(main(["serve", *sys.argv[1:]]))
