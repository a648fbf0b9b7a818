"""`python -m triosock`: the command line of `triosock.cli`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
