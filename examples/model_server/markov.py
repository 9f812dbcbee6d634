"""A small language model: word n-grams counted from a text, sampled token by token.

It has no weights to download and no opinions to speak of, but each token is drawn from what came before it,
so temperature, seed and length mean what they mean for larger ones.
"""

import itertools
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

_TOKEN = re.compile(r"[A-Za-z0-9]+(?:['’-][A-Za-z]+)*|[^\sA-Za-z0-9]")
_ENDS_SENTENCE = frozenset(".!?")
_JOINS_LEFT = frozenset(".,;:!?)")
ORDER = 2
# Contexts seen with fewer continuations than this fall back to a shorter one: else it would recite.
ENOUGH = 3


def tokens_of(text: str) -> list[str]:
    """Words and punctuation marks."""
    return _TOKEN.findall(text)


class MarkovText:
    """Counts of what follows each context of one and of two tokens."""

    def __init__(self, text: str) -> None:
        self._follows: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        tokens = tokens_of(text)
        for length in range(1, ORDER + 1):
            for start in range(len(tokens) - length):
                self._follows[tuple(tokens[start : start + length])][tokens[start + length]] += 1
        self._openings = [b for a, b in itertools.pairwise(tokens) if a in _ENDS_SENTENCE and b.isalpha()]

    @classmethod
    def from_file(cls) -> "MarkovText":
        return cls(Path(__file__).with_name("alice.txt").read_text(encoding="utf-8"))

    def generate(self, prompt: str, temperature: float = 1.0, seed: int | None = None) -> Iterator[str]:
        """Tokens without end, each with the space that leads it; same seed, same tokens."""
        chance = random.Random(seed)
        said = [word for word in tokens_of(prompt)[-1:] if (word,) in self._follows]
        first = not said
        if first:
            said = [chance.choice(self._openings)]
            yield said[0]
        starts_text = not first
        while True:
            token = self._next(said, temperature, chance)
            said.append(token)
            yield token if starts_text or token in _JOINS_LEFT else " " + token
            starts_text = False

    def _next(self, said: list[str], temperature: float, chance: random.Random) -> str:
        for length in range(ORDER, 0, -1):
            counts = self._follows.get(tuple(said[-length:]))
            if counts and (len(counts) >= ENOUGH or length == 1):
                return _draw(counts, temperature, chance)
        return chance.choice(self._openings)


def _draw(counts: Counter[str], temperature: float, chance: random.Random) -> str:
    if temperature <= 0:
        return counts.most_common(1)[0][0]
    weights = [count ** (1.0 / temperature) for count in counts.values()]
    return chance.choices(list(counts), weights)[0]
