"""`python -m bark_client`: the same as `bark-client`."""

import sys

from bark_client.cli import main

if __name__ == "__main__":
    sys.exit(main())
