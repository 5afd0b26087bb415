"""``python -m hebae``: the command line."""

import sys

from hebae.cli import main

main(sys.argv[1:])
