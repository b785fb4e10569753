"""`python -m neurodeploy` is the command `neurodeploy`."""

import sys

from neurodeploy.cli import main

if __name__ == "__main__":
    sys.exit(main())
