"""Seeds: what a corpus begins with, made at run time from what the tests know."""

import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import h2.config
import h2.connection
import hpack
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode

from sidecar.exchange import EndedBy, Exchange, Protocol
from sidecar.handoff import pack_exchange, wire
from tests.fuzz.reads import write_reads
from tests.sidecar.protocols.test_http1 import REQUEST_STREAMS, RESPONSE_STREAMS

LLHTTP = Path(__file__).parents[3] / "shared" / "corpora" / "http1" / "test"
_BLOCK = re.compile(r"^```http\n(.*?)\n```$", re.MULTILINE | re.DOTALL)
_FIELDS = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a"), (b":authority", b"m")]


def _llhttp(kind: str) -> Iterator[bytes]:
    """The inputs of llhttp's fixtures, where they are beside the project."""
    for path in sorted(LLHTTP.glob(f"{kind}/*.md")):
        for text in _BLOCK.findall(path.read_text()):
            yield re.sub(r"\\?\n", lambda end: "" if len(end[0]) > 1 else "\r\n", text).encode()


def _split(stream: bytes, from_model: bool = False) -> bytes:
    half = len(stream) // 2
    return write_reads([(from_model, stream[:half]), (from_model, stream[half:])])


def requests() -> Iterator[bytes]:
    for stream in itertools.chain((stream for stream, _ in REQUEST_STREAMS.values()), _llhttp("request")):
        yield _split(stream)


def responses() -> Iterator[bytes]:
    for number, stream in enumerate(itertools.chain(_response_streams(), _llhttp("response"))):
        yield bytes((number % 4, 0, 0, 0)) + _split(stream)


def _response_streams() -> Iterator[bytes]:
    for entry in RESPONSE_STREAMS.values():
        yield next(each for each in entry if isinstance(each, bytes))


def http1_connections() -> Iterator[bytes]:
    asked = [stream for stream, _ in REQUEST_STREAMS.values()]
    for one, other in zip(asked, itertools.cycle(_response_streams()), strict=False):
        for chosen in (0, 4, 8):
            yield bytes((chosen,)) + write_reads([(False, one), (True, other), (False, one[:20])])
        yield b"\3" + write_reads([(False, one), (False, b""), (True, b""), (True, other)])


def http2_connections() -> Iterator[bytes]:
    """What two peers of h2 say to each other."""
    for size, ends in itertools.product((0, 5, 300), (True, False)):
        client, server = (
            h2.connection.H2Connection(h2.config.H2Configuration(client_side=side, header_encoding=None))
            for side in (True, False)
        )
        client.initiate_connection()
        server.initiate_connection()
        reads = [(True, server.data_to_send())]
        client.send_headers(1, _FIELDS, priority_weight=9)
        client.send_data(1, b"q" * size, end_stream=True, pad_length=3)
        client.update_settings({1: size})
        said = client.data_to_send()
        reads.append((False, said[len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n") :]))
        server.receive_data(said)
        server.send_headers(1, [(b":status", b"200")])
        server.send_data(1, b"a" * size, end_stream=False)
        server.send_headers(1, [(b"grpc-status", b"0")], end_stream=True)
        server.close_connection() if ends else server.ping(b"12345678")
        reads.append((True, server.data_to_send()))
        yield b"\3" + write_reads(reads)
        yield b"\5" + write_reads([*reads[:2], (True, b""), (False, b""), *reads[2:]])


def hpack_blocks() -> Iterator[bytes]:
    for huffman, table in itertools.product((True, False), (0, 64, 4096, 8192)):
        encoder = hpack.Encoder()
        blocks = [
            encoder.encode([*_FIELDS, (b"x-n", b"%d" % number)], huffman=huffman) for number in range(3)
        ]
        encoder.header_table_size = table
        blocks.append(encoder.encode(_FIELDS))
        yield write_reads([*((False, each) for each in blocks), (True, b"\x20\x00"), (False, blocks[0])])


def huffman() -> Iterator[bytes]:
    encoder = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
    yield from (encoder.encode(text) for text in (b"a", b"www.example.com", bytes(range(256)), b"\xff" * 9))


def sse() -> Iterator[bytes]:
    for stream in (
        b"data: a\n\ndata: b\r\n\r\nevent: x\rdata\r\r: comment\nid: 7\nretry: 10\ndata: c\n\n",
        "\ufeffdata: \u00fc\n\ndata:x\ndata: y\n\n".encode(),
        b"data: \xff\xfe\n\nid: a\0b\ndata: [DONE]\n\n",
    ):
        yield _split(stream)


def sniff() -> Iterator[bytes]:
    yield from (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n\r\nGET / HTTP/1.1\r\n",
        b"\0\0\x06\4\0\0\0\0\0",
        b"\x16\3\1",
    )


def websocket() -> Iterator[bytes]:
    for chosen in range(8):
        from_client, deflates, forgets = (bool(chosen & bit) for bit in (1, 2, 4))
        extensions = [PerMessageDeflate(False, forgets, 15, 15)] if deflates else []
        frames = [
            Frame(Opcode.TEXT, b"hello hello hello"),
            Frame(Opcode.PING, b"ping"),
            Frame(Opcode.BINARY, b"one ", fin=False),
            Frame(Opcode.CONT, b"two"),
            Frame(Opcode.TEXT, b"hello hello hello"),
            Frame(Opcode.CLOSE, b"\x03\xe8bye"),
        ]
        written = [each.serialize(mask=from_client, extensions=extensions) for each in frames]
        yield bytes((chosen,)) + write_reads((False, each) for each in written)


def inbox() -> Iterator[bytes]:
    call = Exchange(1, 0, Protocol.HTTP1, 10, 10, 5)
    call.ended_by, call.method, call.target = EndedBy.MODEL, b"GET", b"/"
    packed = pack_exchange(call)
    packets = [wire.batch_packet(4, [packed, packed]), wire.mark_packet(9), *wire.part_packets(10, packed)]
    yield write_reads((False, packet) for packet in packets)
    yield write_reads((False, packet) for packet in reversed(packets))


def conversion() -> Iterator[bytes]:
    bodies = (
        b'{"model": "m", "messages": [{"role": "user", "content": "ada@example.org"}]}',
        b'data: {"choices": [{"delta": {"content": "x"}}]}\n\ndata: [DONE]\n\n',
        b'{"inputs": [{"name": "a", "datatype": "FP32", "shape": [1], "data": [1]}]}',
        b"\0\0\0\0\x05\n\x03abc",
        b"a=1&b=%40",
        b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n4111 1111 1111 1111\r\n--b--",
        b"\x1f\x8b\x08\0\0\0\0\0",
    )
    for number, body in enumerate(bodies):
        for kind in range(10):
            yield bytes((number << 5, number, kind, 0)) + body + b"\0\0" + body


Seeds = Callable[[], Iterator[bytes]]
