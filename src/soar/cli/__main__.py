"""`python -m soar.cli`: the same as `soar`."""

import sys

from soar.cli import main

if __name__ == "__main__":
    sys.exit(main())
