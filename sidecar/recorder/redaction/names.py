"""Names: what the name of a member, a parameter or a column tells of its value."""

import functools
import re
from typing import Final

# Words that shapes ask for in front of a value. Which of them counts is theirs to tell.
_TELLING: Final = re.compile(
    r"passport|passeport|pasaporte|passaporto|paspoort|reisepass|birth|born|\bdob\b|geburt|nascita|nacimiento"
    r"|naissance|geboorte|\bsin\b|insurance|\bcpf\b|\bnhs\b|steuer|\bidnr\b|\btax\b|pesel|\bbsn\b|burgerservice|sofi"
    r"|aadha+r|\btfn\b",
    re.IGNORECASE,
)
_HUMPS: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|[_.-]+")


@functools.lru_cache(maxsize=4096)
def words_that_tell(name: str) -> bytes:
    """The words of `name` (`dateOfBirth`, `date_of_birth`) as text before its value; empty if none tells."""
    words = _HUMPS.sub(" ", name[:128])
    return f"{words}: ".encode("utf-8", "replace") if _TELLING.search(words) else b""
