"""Opaque connections: bytes pass untouched, one record for the stretch."""

from sidecar.exchange import EndedBy, Protocol


def test_unknown_protocol(make_rig):
    """A connection of an unknown protocol is one record, with what passed each way."""
    rig = make_rig()
    tap = rig.tap()
    assert tap.from_client(b"\x16\x03\x01", 1) == b"\x16\x03\x01"
    assert tap.from_model(b"\x16\x03\x03", 2) == b"\x16\x03\x03"
    assert tap.client_ended(3) == b""
    assert rig.kept == []
    assert tap.model_ended(4) == b""
    tap.lost(EndedBy.RELAY, 5)
    (call,) = rig.kept
    assert (call.protocol, call.ended_by, call.ended) == (Protocol.OPAQUE, EndedBy.MODEL, 4)
    assert (call.request_completed, call.first_response_byte) == (3, 2)
    assert call.request.captured_pieces == [b"\x16\x03\x01"]
    assert call.response.captured_pieces == [b"\x16\x03\x03"]
    assert call.request_id == rig.made[0]
    assert rig.count() == {"seen": 1, "handed_over": 1, "opaque_connections": 1}
    rig.check_balance()


def test_lost(make_rig):
    """A reset ends the stretch, once."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(b"\0", 1)
    tap.lost(EndedBy.CLIENT, 2)
    assert tap.from_model(b"late", 3) == b"late"
    tap.lost(EndedBy.CLIENT, 4)
    assert [call.ended_by for call in rig.kept] == [EndedBy.CLIENT]
    rig.check_balance()


def test_abandoned(make_rig):
    """A fault sheds the stretch, which is not counted a second time."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(b"\0", 1)
    tap.abandon(2)
    assert rig.count() == {"seen": 1, "shed_tap_fault": 1, "opaque_connections": 1}
