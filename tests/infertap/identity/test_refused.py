"""What is said of refused calls: all are counted, few have a line."""

from infertap.identity import Refusal, RefusedCalls


def test_lines_are_few() -> None:
    """Of each method and reason there is one line in ten seconds, which says how many had none."""
    now = 0.0
    counted: list[tuple[str, str]] = []
    said: list[dict[str, object]] = []
    refused = RefusedCalls(
        lambda method, reason: counted.append((method, reason)),
        lambda event, **facts: said.append(facts),
        lambda: now,
    )
    for _ in range(100):
        refused.refused("/a", Refusal.UNKNOWN_TOKEN, "peer", "")
    refused.refused("/b", Refusal.ROLE, "peer", "ana")
    now = 10.0
    refused.refused("/a", Refusal.UNKNOWN_TOKEN, "peer", "")
    assert len(counted) == 102
    assert [(each["method"], each["identity"], each["untold"]) for each in said] == [
        ("/a", "", 0),
        ("/b", "ana", 0),
        ("/a", "", 99),
    ]
