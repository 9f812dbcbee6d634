"""HPACK against RFC 7541's own examples, against the `hpack` library, and against recorded blocks."""

import json
from pathlib import Path

import hpack
import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hypothesis import given
from hypothesis import strategies as st

from sidecar.protocols import HpackDecoder, HpackError, literal_without_indexing
from sidecar.protocols.huffman import HuffmanError, decode_huffman

CORPUS = Path(__file__).parents[4] / "shared" / "corpora" / "hpack"

# RFC 7541, appendix C.3 and C.4: three requests on one connection, plain and Huffman-encoded.
REQUESTS = [
    [(b":method", b"GET"), (b":scheme", b"http"), (b":path", b"/"), (b":authority", b"www.example.com")],
    [
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":path", b"/"),
        (b":authority", b"www.example.com"),
        (b"cache-control", b"no-cache"),
    ],
    [
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":path", b"/index.html"),
        (b":authority", b"www.example.com"),
        (b"custom-key", b"custom-value"),
    ],
]
PLAIN = [
    "828684410f7777772e6578616d706c652e636f6d",
    "828684be58086e6f2d6361636865",
    "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
]
HUFFMAN = [
    "828684418cf1e3c2e5f23a6ba0ab90f4ff",
    "828684be5886a8eb10649cbf",
    "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
]


@pytest.mark.parametrize("blocks", [PLAIN, HUFFMAN])
def test_examples_of_the_standard(blocks: list[str]) -> None:
    """The requests of appendix C come out as they went in."""
    decoder = HpackDecoder()
    assert [decoder.decode(bytes.fromhex(block)) for block in blocks] == REQUESTS


names = st.sampled_from([b":path", b"content-type", b"x-a", b"grpc-status", b"cookie"]) | st.binary(
    min_size=1, max_size=12
).map(bytes.lower)
values = st.sampled_from([b"", b"200", b"application/grpc", b"/a/b"]) | st.binary(max_size=60)
lists = st.lists(st.tuples(names, values), max_size=8)


@given(st.lists(st.tuples(lists, st.booleans(), st.none() | st.integers(0, 300)), max_size=8))
def test_follows_an_encoder(conversation: list[tuple[list[tuple[bytes, bytes]], bool, int | None]]) -> None:
    """Whatever an encoder sends, with tables that grow, shrink and evict, comes out as it went in."""
    encoder, decoder = hpack.Encoder(), HpackDecoder()
    for fields, huffman, table in conversation:
        if table is not None:
            encoder.header_table_size = table
            decoder.allow_table(table)
        assert decoder.decode(encoder.encode(fields, huffman=huffman)) == fields


def read_by_oracle(oracle: hpack.Decoder, block: bytes) -> list[tuple[bytes, bytes]] | None:
    """What the library reads; None where it refuses."""
    try:
        return [(bytes(name), bytes(value)) for name, value in oracle.decode(block, raw=True)]
    except (hpack.HPACKError, IndexError):
        return None


# Pieces of blocks, whole and broken, so that garbage goes deeper than its first byte.
pieces = st.sampled_from(
    [
        *(b"\x82", b"\xbe", b"\xbf", b"\xc0", b"\x80", b"\xff\x00", b"\x20", b"\x3f\x21", b"\x3f\xe1\x1f"),
        *(b"\x40\x01a\x01b", b"\x44\x01/", b"\x7e\x01v", b"\x7f\x00\x01w", b"\x0f\x2f\x01x"),
        *(b"\x10\x01n\x00", b"\x00\x82\x18\xd7\x01z", b"\x44\x81\x1f", b"\x44\x81\x00", b"\x40\x05ab"),
        *(b"\x40\x01k\x7f\x21" + b"v" * 160, b"\xff\xff\xff", b"\x7f", b"\x00\x00\x00"),
    ]
) | st.binary(min_size=1, max_size=6)
garbage = st.lists(pieces, max_size=8).map(b"".join)


@given(st.lists(garbage, max_size=6), st.booleans())
def test_any_bytes(blocks: list[bytes], small_table: bool) -> None:
    """Whatever bytes come, the library reads the same fields from them or refuses them too."""
    decoder, oracle = HpackDecoder(), hpack.Decoder()
    if small_table:
        blocks = [b"\x3f\x21", *blocks]  # 64 bytes: an entry or two
    for block in blocks:
        try:
            fields = decoder.decode(block)
        except HpackError as error:
            if "or too many" not in str(error):  # the library takes any number
                assert read_by_oracle(oracle, block) is None
            return
        assert fields == read_by_oracle(oracle, block)


def test_shrinks_as_told() -> None:
    """Once a smaller table has been agreed, the next block must begin with it (RFC 9113, section 4.3.1)."""
    decoder = HpackDecoder()
    assert decoder.decode(b"\x82") == [(b":method", b"GET")]
    decoder.allow_table(100)
    decoder.allow_table(4096)
    with pytest.raises(HpackError, match="not made smaller"):
        decoder.decode(b"\x82")
    with pytest.raises(HpackError, match="small enough"):
        decoder.decode(b"\x3f\x81\x01\x82")  # 160
    assert decoder.decode(b"\x3f\x45\x3f\xe1\x1f\x82") == [(b":method", b"GET")]  # 100, then 4096
    decoder.allow_table(8192)
    assert decoder.decode(b"\x82") == [(b":method", b"GET")]


def test_size_updates() -> None:
    """A block begins with at most two size updates (section 4.2)."""
    assert HpackDecoder().decode(b"\x20\x3f\xe1\x1f\x82") == [(b":method", b"GET")]
    with pytest.raises(HpackError, match="too many"):
        HpackDecoder().decode(b"\x20\x20\x20")


@given(st.binary(max_size=200))
def test_huffman(text: bytes) -> None:
    """Strings come out as they went in."""
    encoded = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(text)
    assert decode_huffman(encoded) == text


@pytest.mark.parametrize("encoded", ["00", "ff", "ffff", "ffffffff", "1fff", "fffffffc", "3fffffff"])
def test_bad_huffman(encoded: str) -> None:
    """EOS in a string, and padding that is too long or not ones, are errors (section 5.2)."""
    with pytest.raises(HuffmanError):
        decode_huffman(bytes.fromhex(encoded))


def test_one_symbol_each() -> None:
    """Every octet has a code, and decodes from it."""
    encoder = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
    assert [decode_huffman(encoder.encode(bytes((octet,)))) for octet in range(256)] == [
        bytes((octet,)) for octet in range(256)
    ]


@pytest.mark.parametrize(
    "block",
    [
        "80",  # index 0
        "be",  # an empty dynamic table
        "ff80808080808001",  # an integer without an end
        "ffffffffffff7f",  # an integer beyond all bounds
        "0003",  # a string that is cut
        "00",  # nothing after the first byte
        "8220",  # a size update after a field
        "3fe21f",  # a table of more than 4096 bytes
        "00017f",  # a length that is cut
    ],
)
def test_refused(block: str) -> None:
    """What the standard forbids, and what goes beyond a limit, is an error."""
    with pytest.raises(HpackError):
        HpackDecoder().decode(bytes.fromhex(block))


def test_bombs() -> None:
    """A small block that names a large entry again and again is cut off, and so are too many fields."""
    decoder = HpackDecoder()
    decoder.decode(b"\x40\x01a" + b"\x7f\xbd\x1d" + b"v" * 3900)
    with pytest.raises(HpackError, match="too large"):
        decoder.decode(b"\xbe" * 10_000)
    with pytest.raises(HpackError, match="too large"):
        HpackDecoder().decode(b"\x82" * 3000)


def test_remembered_blocks_follow_the_table() -> None:
    """The same bytes mean something else once the table has changed."""
    decoder = HpackDecoder()
    decoder.decode(b"\x40\x01a\x01b")
    assert decoder.decode(b"\xbe") == decoder.decode(b"\xbe") == [(b"a", b"b")]
    decoder.decode(b"\x40\x01c\x01d")
    assert decoder.decode(b"\xbe") == [(b"c", b"d")]
    decoder.decode(b"\x20")
    with pytest.raises(HpackError):
        decoder.decode(b"\xbe")


def test_appended_literal() -> None:
    """The literal that is appended decodes as the field, and leaves the table alone."""
    decoder, oracle = HpackDecoder(), hpack.Decoder()
    encoder = hpack.Encoder()
    for number in range(50):
        fields = [(b":path", b"/%d" % number), (b"x-number", b"%d" % number)]
        block = encoder.encode(fields) + literal_without_indexing(b"x-request-id", b"r" * 36)
        expected = [*fields, (b"x-request-id", b"r" * 36)]
        assert decoder.decode(block) == expected
        assert [tuple(each) for each in oracle.decode(block, raw=True)] == expected


def stories() -> list[Path]:
    return sorted(CORPUS.rglob("story_*.json")) if CORPUS.is_dir() else []


@pytest.mark.skipif(not stories(), reason="no recorded blocks here (shared/corpora/hpack)")
def test_recorded_blocks() -> None:
    """Blocks that other encoders made decode to what those encoded."""
    count = 0
    for story in stories():
        decoder = HpackDecoder()
        for case in json.loads(story.read_text())["cases"]:
            if "wire" not in case:
                continue
            if "header_table_size" in case:
                decoder.allow_table(case["header_table_size"])
            expected = [
                (name.encode(), value.encode()) for field in case["headers"] for name, value in field.items()
            ]
            assert decoder.decode(bytes.fromhex(case["wire"])) == expected, story.name
            count += 1
    assert count > 0
