"""Redaction texts: sentences that values stand in, and fields that hold nothing to be found. Pure."""

import random
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

# Say nothing of what the value is.
_ANY: Final = (
    "{}",
    "please look at {} and tell me more",
    "Here it is: {}. Thanks!",
    "({}) was in the attachment",
    'The customer wrote "{}" on the form',
    "value={}",
    "first line\n{}\nlast line",
    "I got {}, but it does not work",
    "| name | {} |",
    "summary of the ticket: {}; it is still open",
)
# Such values are told by the words before them, as people write them.
_NAMED: Final[Mapping[str, tuple[str, ...]]] = {
    "bearer": ("Authorization: Bearer {}", "curl -H 'authorization: bearer {}' https://x/"),
    "url_credential": ("postgres://{}@db:5432/main", "clone https://{}@git.example.com/a.git please"),
    "birth_date": ("date of birth: {}", "She was born on {}.", "DOB {}", "birthday: {}"),
    "passport": ("passport number {}", "my passport no. is {}", "Passport: {}"),
    "uk_nhs": ("NHS number {}", "his NHS no: {}"),
    "pl_pesel": ("PESEL {}", "numer PESEL: {}"),
    "nl_bsn": ("BSN {}", "mijn BSN is {}"),
    "au_tfn": ("TFN: {}", "my tax file number is {}"),
}


def sentence(rng: random.Random, kind: str, value: str) -> str:
    """A text with `value`, which is of that class, in it."""
    return rng.choice(_NAMED.get(kind, _ANY)).format(value)


# -- clean


def _timestamp(rng: random.Random) -> str:
    at = rng.randrange(1_500_000_000, 1_900_000_000)
    moment = datetime.fromtimestamp(at, UTC)
    return rng.choice(
        (
            str(at),
            str(at * 1000 + rng.randrange(1000)),
            f"{at}{rng.randrange(10**9):09}",
            f"{at}.{rng.randrange(10**6):06}",
            moment.isoformat(),
            moment.strftime("%Y-%m-%d %H:%M:%S,%f"),
            moment.strftime("%a, %d %b %Y %H:%M:%S GMT"),
            moment.strftime("%Y%m%d%H%M%S"),
            moment.strftime("%d/%b/%Y:%H:%M:%S +0100"),
        )
    )


def _hash(rng: random.Random) -> str:
    bits = rng.choice((32, 64, 128, 160, 256, 512))
    return rng.choice(("", "", "sha256:", "commit ")) + f"{rng.getrandbits(bits):0{bits // 4}x}"


def _float(rng: random.Random) -> str:
    number = rng.uniform(-1e4, 1e4)
    return rng.choice(
        (f"{number}", f"{number:.6f}", f"{number:e}", f"[{number}, {rng.random()}, {rng.gauss()}]")
    )


def _version(rng: random.Random) -> str:
    parts = [str(rng.randrange(40)) for _ in range(3)]
    return rng.choice(
        (
            ".".join(parts),
            "v" + ".".join(parts) + f"-rc.{rng.randrange(9)}",
            ".".join(parts) + f"+build.{rng.randrange(10**8)}",
            f"numpy>={'.'.join(parts)},<{rng.randrange(41, 90)}",
            f"Chrome/{rng.randrange(90, 140)}.0.{rng.randrange(4000, 7000)} Safari/537.36",
            f"image:{rng.getrandbits(48):012x}",
        )
    )


def _order(rng: random.Random) -> str:
    digits = "".join(rng.choices("0123456789", k=rng.randrange(6, 19)))
    return rng.choice(
        (
            f"order {digits[:10]}",
            f"ORD-{rng.randrange(2020, 2030)}-{digits[:6]}",
            f"ticket #{digits[:7]}",
            f"invoice INV{digits[:8]}",
            f"tracking 1Z{digits[:6]}0{digits[:9]}",
            f"item {digits[:5]}-{digits[5:8]}",
            f"isbn 978-3-{digits[:3]}-{digits[:5]}-{digits[0]}",
            f"row {digits[:6]} of {digits[:6]}",
            f"sku {digits[:4]}.{digits[:3]}",
        )
    )


_CODE: Final = (
    "for i in range({0}, {1}): total += weights[i] * {2}",
    "def test_{0}(self): assert compute({1}) == {2}",
    "std::vector<float> x{{{2}f, {2}f}};  // a::b::c {0}",
    "import {{ useState }} from '@app/hooks'; const n = {0};",
    "@pytest.mark.parametrize('size', [{0}, {1}])",
    "SELECT id, name FROM orders WHERE id = {0} AND total > {2};",
    "let token = tokenizer.next_token(); // line {0}",
    "0x{0:08x} mov eax, [rbp-{1}]",
    "key = keys[{0}]; password_field = form.fields[{1}]",
    "const url = `https://example.com/api/v{0}/items?page={1}&size=20`;",
    "git checkout -b feature/{0}-add-index && make -j{1}",
    "a = np.array([[{2}, {0}], [{1}, {2}]], dtype=np.float32)",
    "margin: {0}px {1}px; color: #{0:06x};",
    "if (ptr->next == NULL || ptr->size >= {0}UL) return -{1};",
)


def _code(rng: random.Random) -> str:
    return rng.choice(_CODE).format(rng.randrange(10**6), rng.randrange(1000), round(rng.random(), 4))


_LOGS: Final = (
    "{0} INFO [worker-{1}] request took {2} ms, status=200 bytes={3}",
    "{0} WARN retry {1}/5 after {2}s: connection reset by peer",
    "[{1}] epoch {1}: loss={2} acc=0.9{1} lr=1e-0{1} tokens={3}",
    'level=error ts={0} caller=main.go:{1} msg="timeout" elapsed={2}',
    "{0} kernel: [{3}.{1}] oom-killer: pid {3}, score {1}",
    "GET /v1/models/resnet/versions/{1} 200 {3} {2}",
)


def _log(rng: random.Random) -> str:
    at = datetime.fromtimestamp(rng.randrange(1_500_000_000, 1_900_000_000), UTC).isoformat()
    return rng.choice(_LOGS).format(
        at, rng.randrange(1, 10), round(rng.uniform(0, 900), 3), rng.randrange(10**6)
    )


_PROMPTS: Final = (
    "Write a poem about {} rivers and the sea, in {} lines.",
    "Explain the theorem of Pythagoras to a child of {}. Use {} examples.",
    "What is {} times {}? Show your work.",
    "Translate to French: the {} ships left the harbour at dawn on day {}.",
    "Summarize chapter {} in {} words; keep names of places.",
    "You are a helpful assistant. Answer in at most {} words. Step {}.",
    "Why did the market fall by {} percent after {} days of gains?",
    "Give me {} ideas for dinner with fewer than {} ingredients",
)


def _prompt(rng: random.Random) -> str:
    return rng.choice(_PROMPTS).format(rng.randrange(2, 500), rng.randrange(2, 100))


CLEAN: Final[Mapping[str, Callable[[random.Random], str]]] = {
    "timestamp": _timestamp,
    "uuid": lambda rng: str(uuid.UUID(int=rng.getrandbits(128), version=4)),
    "hash": _hash,
    "float": _float,
    "version": _version,
    "order": _order,
    "code": _code,
    "log": _log,
    "prompt": _prompt,
}
