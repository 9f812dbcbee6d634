"""New token: `infertap token FILE`: makes a token, and the hash by which an identities file knows it.

Touches that file only, which must not be there yet. It promises: the token itself is printed nowhere.
"""

import hashlib
import os
import secrets
import sys
from typing import Final

_BYTES: Final = 32


def run_token(path: str) -> int:
    """Make the file, readable by its owner only, and print the hash; returns the exit status."""
    token = secrets.token_urlsafe(_BYTES)
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(token)
    except OSError as error:
        print(f"infertap: {path}: {error.strerror}", file=sys.stderr)
        return 1
    print(f"sha256:{hashlib.sha256(token.encode()).hexdigest()}")
    return 0
