"""One relay process: `python -m sidecar.relay`, started by the parent with its descriptors."""

import os
import sys
from functools import partial

from infertap.faults import tell_without_text
from sidecar import config
from sidecar.event_log import log_event
from sidecar.relay.process import read_arguments, run


def main() -> None:
    """Read what the parent hands over and the settings, and run the relay."""
    tell_without_text(partial(log_event, "relay"))
    inheritance = read_arguments(sys.argv[1:])
    run(config.read(os.environ), inheritance)


if __name__ == "__main__":
    main()
