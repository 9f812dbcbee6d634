"""The same as the command `infertap`: `python -m infertap.cli`."""

import sys

from infertap.cli.main import main

sys.exit(main())
