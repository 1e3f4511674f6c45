"""`python -m bark_stream` is `bark-stream`."""

from __future__ import annotations

import sys

from bark_stream.cli import main

sys.exit(main())
