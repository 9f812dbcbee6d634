"""One relay process: `python -m sidecar.relay`, started by the parent with its descriptors."""

import os
import sys

from sidecar import config
from sidecar.relay.process import read_arguments, run


def main() -> None:
    """Read what the parent hands over and the settings, and run the relay."""
    inheritance = read_arguments(sys.argv[1:])
    run(config.read(os.environ), inheritance)


if __name__ == "__main__":
    main()
