"""The demo fails where its records don't show what it is there to show."""

import pytest

from infertap import v1
from infertap.demo.expectations import faults
from infertap.demo.traffic import PERSONAL, SECRET

BALANCED = {"balanced": True}


def shown() -> list[v1.Record]:
    """Records that show everything."""
    tensors = v1.Model(inputs=[v1.Tensor(shape=[1, 4])])
    redacted = v1.Payload(data=b'"<email>"', redactions=[v1.Redaction(count=1)])
    return [
        v1.Record(state=v1.COMPLETED, protocol=v1.HTTP1, model=tensors),
        v1.Record(protocol=v1.GRPC, grpc_status=0),
        v1.Record(http_status=400),
        v1.Record(protocol=v1.GRPC, grpc_status=3),
        v1.Record(http_status=500, response=v1.Payload(data=b"Traceback (most")),
        v1.Record(timing=v1.Timing(duration_us=1_500_000)),
        v1.Record(response=v1.Payload(piece_count=9, decoded_json="{}")),
        v1.Record(state=v1.CANCELLED),
        v1.Record(request=redacted),
    ]


def test_all_is_well() -> None:
    """Nothing to say where everything is shown."""
    records = shown()
    assert faults(records, len(records), BALANCED) == []


@pytest.mark.parametrize("missing", range(9))
def test_something_is_not_shown(missing: int) -> None:
    """Each record is needed: without it, at least one claim fails and says what."""
    records = shown()
    del records[missing]
    found = faults(records, len(records), BALANCED)
    assert found
    assert all(fault.startswith("no record shows ") for fault in found)


@pytest.mark.parametrize("leak", [*PERSONAL, SECRET])
def test_personal_data_in_a_record(leak: str) -> None:
    """Whatever was made up must be in no record, wherever."""
    records = [*shown(), v1.Record(call_id="the-call", grpc_message=f"said {leak}")]
    [fault] = faults(records, len(records), BALANCED)
    assert "the-call" in fault
    assert leak not in fault


def test_numbers() -> None:
    """Each call has its record, and the account balances."""
    records = shown()
    assert "12 calls were made, and 9 are in storage" in faults(records, 12, BALANCED)
    assert "the account does not balance" in faults(records, 9, {"balanced": False})
