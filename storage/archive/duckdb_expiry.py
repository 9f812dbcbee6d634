"""Expiry: which records of which file go next, by what each model has in each. Pure."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from storage.archive.duckdb_parts import Part
from storage.archive.removals import BY_AGE, BY_SIZE, ModelRule, Retention


@dataclass(frozen=True, slots=True)
class Share:
    """What one model has in one file."""

    model: str
    records: int
    # Of encoded records.
    record_bytes: int
    # When the last of them was stored.
    last_ns: int


def next_share(
    shares: Mapping[Part, Sequence[Share]], retention: Retention, now_ns: int
) -> tuple[Part, list[str], str] | None:
    """The file, the models whose records in it go, and why; None where everything is as it should be."""
    age = longest_age(retention)
    for part in sorted(shares):
        if not shares[part] and age is not None and _last_ns(part) < now_ns - age:
            return part, [], BY_AGE  # all its records were deleted
        over = [share.model for share in shares[part] if _is_over_age(share, retention.ages, now_ns)]
        if over:
            return part, over, BY_AGE
    for rule in retention.sizes:
        meant = [
            (part, share)
            for part in sorted(shares)
            for share in shares[part]
            if _rule_for(share.model, retention.sizes) == rule
        ]
        if meant and sum(share.record_bytes for _, share in meant) > rule.most:
            first = meant[0][0]
            return first, [share.model for part, share in meant if part == first], BY_SIZE
    return None


def longest_age(retention: Retention) -> int | None:
    """How old a record may get, of whatever model; None where some have no limit."""
    has_rest = any(rule.model == "*" for rule in retention.ages)
    return max(rule.most for rule in retention.ages) if has_rest else None


def _last_ns(part: Part) -> int:
    """The end of the day of a file."""
    day = datetime.datetime.fromisoformat(part.day).replace(tzinfo=datetime.UTC)
    return (int(day.timestamp()) + 86_400) * 1_000_000_000


def _is_over_age(share: Share, ages: Sequence[ModelRule], now_ns: int) -> bool:
    rule = _rule_for(share.model, ages)
    return rule is not None and share.last_ns < now_ns - rule.most


def _rule_for(model: str, rules: Sequence[ModelRule]) -> ModelRule | None:
    return next((rule for rule in rules if rule.names(model)), None)
