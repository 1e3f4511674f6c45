"""Exit code 0 when the server in this container takes work. Reads the server's own environment; needs nothing else."""

from __future__ import annotations

import os
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping

TIMEOUT_S = 4.0


def url(environment: Mapping[str, str]) -> str:
    """Where `/readyz` of the server is."""
    scheme = "https" if environment.get("BARK_STREAM_TLS_CERT") else "http"
    return f"{scheme}://127.0.0.1:{environment.get('BARK_STREAM_PORT', '8765')}/readyz"


def is_ready(address: str) -> bool:
    # The certificate names the server as others know it, not the loopback.
    context = ssl._create_unverified_context() if address.startswith("https:") else None
    try:
        with urllib.request.urlopen(address, timeout=TIMEOUT_S, context=context) as response:
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


if __name__ == "__main__":
    sys.exit(0 if is_ready(url(os.environ)) else 1)
