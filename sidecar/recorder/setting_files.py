"""Setting files: checks those that only the recorder can read, before there is one.

    python -m sidecar.recorder.setting_files RULES DESCRIPTORS    (each a path, or empty)

Touches these files. Its exit status is 2 where one can't be used, and each fault has its line on stderr. A
process of its own, so that the sidecar's parent, which starts it, need not load what this needs.
"""

import sys

from sidecar.recorder.descriptor_set import DescriptorSetError, read_descriptor_set
from sidecar.recorder.redaction import RulesFileError, read_own_rules


def main() -> int:
    """Check the files that the command line names; returns the exit status."""
    rules, descriptors = (path or None for path in sys.argv[1:])
    faults: list[Exception] = []
    try:
        read_own_rules(rules)
    except RulesFileError as error:
        faults.append(error)
    try:
        read_descriptor_set(descriptors)
    except DescriptorSetError as error:
        faults.append(error)
    for fault in faults:
        print(fault, file=sys.stderr)
    return 2 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
