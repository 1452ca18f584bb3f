"""`python -m gptcore` is the command `gptcore`."""

import sys

from gptcore.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
