"""The recorder process: `python -m sidecar.recorder`, started by the parent with its descriptors."""

import os
import sys
from functools import partial

from infertap.faults import tell_without_text
from sidecar import config
from sidecar.event_log import log_event
from sidecar.hash_key import HashKeyError
from sidecar.recorder.descriptor_set import DescriptorSetError
from sidecar.recorder.process import read_arguments, run
from sidecar.recorder.redaction import RulesFileError
from sidecar.spool import SpoolError


def main() -> int:
    """Read what the parent hands over and the settings, and run the recorder; returns the exit status."""
    tell_without_text(partial(log_event, "recorder"))
    inheritance = read_arguments(sys.argv[1:])
    try:
        return 0 if run(config.read(os.environ), inheritance) else 1
    except (SpoolError, HashKeyError, RulesFileError, DescriptorSetError) as error:
        log_event("recorder", "can't record", reason=str(error))
        return 1


if __name__ == "__main__":
    sys.exit(main())
