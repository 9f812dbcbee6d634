"""Setting values: those of storage that are more than a number or a text. Pure."""

import re
from collections.abc import Callable
from typing import Final

from infertap.settings import comma_list, size_bytes
from storage.archive import ModelRule

_SPAN: Final = re.compile(r"(\d{1,6})([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_ALL: Final = "*"
_NANOS: Final = 1_000_000_000


def read_ages(value: str) -> tuple[ModelRule, ...]:
    """`90d` for all models, or `llama*=30d,*=90d`; raises ValueError."""
    return _read_rules(value, _age_ns)


def read_sizes(value: str) -> tuple[ModelRule, ...]:
    """`200GiB` for all models together, or `llama*=10GiB,*=200GiB`; raises ValueError."""
    return _read_rules(value, size_bytes(1, 1 << 60))


def _read_rules(value: str, read: Callable[[str], int]) -> tuple[ModelRule, ...]:
    if value.lower() in ("", "off"):
        return ()
    rules: list[ModelRule] = []
    for each in comma_list(value):
        model, sign, limit = each.rpartition("=")
        model = model.strip() if sign else _ALL
        if not model or _ALL in model[:-1]:
            raise ValueError("expected models as they are called, or their beginnings with * behind")
        if any(_names_all_of(rule.model, model) for rule in rules):
            raise ValueError(f"no model is left for {model!r}: the first that fits counts")
        rules.append(ModelRule(model, read(limit.strip())))
    return tuple(rules)


def _names_all_of(earlier: str, later: str) -> bool:
    """Whether every model that the later one names is named by the earlier one."""
    if earlier.endswith(_ALL):
        return later.removesuffix(_ALL).startswith(earlier[:-1])
    return earlier == later


def _age_ns(value: str) -> int:
    match = _SPAN.fullmatch(value)
    if match is None or not int(match[1]):
        raise ValueError("expected an age such as 90d, 12h, 30m or 60s, for models as in llama*=30d,*=90d")
    return int(match[1]) * _SECONDS[match[2]] * _NANOS
