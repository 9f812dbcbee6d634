"""Original destinations as the kernel tells them."""

import socket

import pytest

from infertap.settings import Address
from sidecar.relay.redirect import NotRedirectedError, original_destination, read_sockaddr


@pytest.mark.parametrize(
    ("raw", "address"),
    [
        # As getsockopt gave them on x86-64, behind a REDIRECT rule.
        ("02001f40 7f000001 0000000000000000", Address("127.0.0.1", 8000)),
        ("0a001f40 00000000 00000000000000000000000000000001 00000000", Address("::1", 8000)),
        ("02000050 0ad54d02 0000000000000000", Address("10.213.77.2", 80)),
        ("0a0001bb 00000001 fd000213000000000000000000000002 00000003", Address("fd00:213::2", 443)),
    ],
)
def test_sockaddr_is_read(raw: str, address: Address) -> None:
    """Family, port in network order, and host; flow and scope don't matter."""
    assert read_sockaddr(bytes.fromhex(raw)) == address


@pytest.mark.parametrize(
    "raw", ["", "02", "01001f40" + "00" * 12, "0a001f40" + "00" * 12, "02" * 28, "00" * 28]
)
def test_anything_else_is_no_address(raw: str) -> None:
    """Other families and lengths are refused, never read past their ends."""
    with pytest.raises(NotRedirectedError):
        read_sockaddr(bytes.fromhex(raw))


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_client_of_the_address_itself(family: socket.AddressFamily, host: str) -> None:
    """Without a rule there is no original destination, or it is the own address: neither is a model."""
    with (
        socket.create_server((host, 0), family=family) as listening,
        socket.create_connection(listening.getsockname()[:2]),
    ):
        accepted, _ = listening.accept()
        with accepted, pytest.raises(NotRedirectedError):
            original_destination(accepted)
