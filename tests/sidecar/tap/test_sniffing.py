"""Sniffing: the tap is chosen by the first bytes, and none of them is lost."""

import pytest

from sidecar.exchange import EndedBy, Protocol
from sidecar.protocols import HTTP2_PREFACE

GET = b"GET / HTTP/1.1\r\n\r\n"


def test_nothing_said(make_rig):
    """A connection on which nothing was said is no call: probes of the port leave no trace."""
    rig = make_rig()
    tap = rig.tap()
    assert tap.client_ended(1) == tap.model_ended(2) == b""
    tap.lost(EndedBy.RELAY, 3)
    assert rig.count() == {}


def test_held_until_decided(make_rig):
    """What may still be several protocols is held, and then followed from its first byte."""
    rig = make_rig()
    tap = rig.tap()
    assert tap.from_client(b"P", 1) == b""
    assert tap.client_held == b"P"
    assert tap.from_client(b"OST / HTTP/1.1\r\n", 2) == b""
    assert tap.client_held == b"POST / HTTP/1.1\r\n"
    assert tap.from_client(b"\r\n", 3).startswith(b"POST / HTTP/1.1\r\nx-request-id: ")
    assert tap.client_held == b""


@pytest.mark.parametrize("beginning", [b"P", b"GET / HTTP/1.1", HTTP2_PREFACE[:20]])
def test_ends_undecided(make_rig, beginning):
    """A client that ends before its protocol is known has sent what it has sent."""
    rig = make_rig()
    tap = rig.tap()
    assert tap.from_client(beginning, 1) == b""
    assert tap.client_ended(2) == beginning
    assert tap.client_held == b""
    tap.lost(EndedBy.RELAY, 3)
    assert [(call.protocol, call.request.size) for call in rig.kept] == [(Protocol.OPAQUE, len(beginning))]
    rig.check_balance()


def test_model_speaks_first(make_rig):
    """A model that speaks first is relayed opaquely, and so is what its client had begun to say."""
    rig = make_rig()
    tap = rig.tap()
    assert tap.from_client(b"GE", 1) == b""
    assert tap.from_model(b"220 mail\r\n", 2) == b"220 mail\r\n"
    assert tap.client_held == b"GE"
    assert tap.from_client(b"T / HTTP/1.1\r\n\r\n", 3) == GET
    tap.lost(EndedBy.CLIENT, 4)
    assert [(call.protocol, call.request.size) for call in rig.kept] == [(Protocol.OPAQUE, len(GET))]


def test_model_ends_undecided(make_rig):
    """A model that says too little to be known has said what it has said."""
    rig = make_rig()
    tap = rig.tap()
    assert tap.from_model(b"\0\0", 1) == b""
    assert tap.model_held == b"\0\0"
    assert tap.model_ended(2) == b"\0\0"
    assert tap.model_held == b""


def test_abandoned_undecided(make_rig):
    """A fault before the choice leaves a counted stretch."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(b"G", 1)
    tap.abandon(2)
    assert tap.client_held == b"G"
    assert rig.count() == {"seen": 1, "opaque": 1}


def test_fault_at_the_choice(make_rig):
    """A fault in the call that decides loses none of the bytes held until then."""
    rig = make_rig()
    tap = rig.tap()
    tap.from_client(b"G", 1)

    def fail(*_):
        raise RuntimeError

    rig.context.skips = fail
    with pytest.raises(RuntimeError):
        tap.from_client(b"ET / HTTP/1.1\r\n\r\n", 2)
    assert tap.client_held == b"G"
    tap.abandon(3)
    rig.check_balance()


def test_leaves_the_rest_to_the_chosen(make_rig):
    """Once the protocol is known and nothing is held here, the chosen tap is called instead of this one."""
    rig = make_rig()
    tap = rig.tap()
    assert tap.successor is None
    tap.from_client(b"GE", 1)
    assert tap.successor is None
    tap.from_client(b"T / HTTP/1.1\r\n\r\n", 2)
    assert tap.successor.from_model(b"HTTP/1.1 204 No Content\r\n\r\n", 3).startswith(b"HTTP/1.1 204 ")
    assert [call.status for call in rig.kept] == [204]


def test_keeps_following_what_it_holds(make_rig):
    """While the client's first bytes are held here, the model's words alone do not end this tap's part."""
    tap = make_rig().tap()
    tap.from_client(b"GE", 1)
    tap.from_model(b"220 mail\r\n", 2)
    assert tap.successor is None
    tap.from_client(b"T", 3)
    assert tap.successor is not None
