"""Huffman strings of HPACK (RFC 7541, section 5.2 and appendix B).

Pure. The code is canonical, so the lengths of its codes are the whole table. Strings are decoded two octets
at a time: a state is a node of the code's tree, and for each state and pair of octets it is remembered, once
it was needed, which symbols come out and which node follows. Short strings are remembered whole: most come
again. What is remembered is bounded.
"""

import struct
from typing import Final

# Bits of the code of each octet, and of EOS.
_LENGTHS: Final = (
    13,
    23,
    28,
    28,
    28,
    28,
    28,
    28,
    28,
    24,
    30,
    28,
    28,
    30,
    28,
    28,
    28,
    28,
    28,
    28,
    28,
    28,
    30,
    28,
    28,
    28,
    28,
    28,
    28,
    28,
    28,
    28,
    6,
    10,
    10,
    12,
    13,
    6,
    8,
    11,
    10,
    10,
    8,
    11,
    8,
    6,
    6,
    6,
    5,
    5,
    5,
    6,
    6,
    6,
    6,
    6,
    6,
    6,
    7,
    8,
    15,
    6,
    12,
    10,
    13,
    6,
    7,
    7,
    7,
    7,
    7,
    7,
    7,
    7,
    7,
    7,
    7,
    7,
    7,
    7,
    7,
    7,
    7,
    7,
    7,
    7,
    7,
    7,
    8,
    7,
    8,
    13,
    19,
    13,
    14,
    6,
    15,
    5,
    6,
    5,
    6,
    5,
    6,
    6,
    6,
    5,
    7,
    7,
    6,
    6,
    6,
    5,
    6,
    7,
    6,
    5,
    5,
    6,
    7,
    7,
    7,
    7,
    7,
    15,
    11,
    14,
    13,
    28,
    20,
    22,
    20,
    20,
    22,
    22,
    22,
    23,
    22,
    23,
    23,
    23,
    23,
    23,
    24,
    23,
    24,
    24,
    22,
    23,
    24,
    23,
    23,
    23,
    23,
    21,
    22,
    23,
    22,
    23,
    23,
    24,
    22,
    21,
    20,
    22,
    22,
    23,
    23,
    21,
    23,
    22,
    22,
    24,
    21,
    22,
    23,
    23,
    21,
    21,
    22,
    21,
    23,
    22,
    23,
    23,
    20,
    22,
    22,
    22,
    23,
    22,
    22,
    23,
    26,
    26,
    20,
    19,
    22,
    23,
    22,
    25,
    26,
    26,
    26,
    27,
    27,
    26,
    24,
    25,
    19,
    21,
    26,
    27,
    27,
    26,
    27,
    24,
    21,
    21,
    26,
    26,
    28,
    27,
    27,
    27,
    20,
    24,
    20,
    21,
    22,
    21,
    21,
    23,
    22,
    22,
    25,
    25,
    24,
    24,
    26,
    23,
    26,
    27,
    26,
    26,
    27,
    27,
    27,
    27,
    27,
    28,
    27,
    27,
    27,
    27,
    27,
    26,
    30,
)
_EOS: Final = 256
_ROOT: Final = 0


class HuffmanError(ValueError):
    """Bytes that no encoder makes."""


def _make_tree() -> list[list[int]]:
    """Nodes as [child for 0, child for 1]; a child below zero is the symbol ~child."""
    tree = [[0, 0]]
    code = length_before = 0
    for length, symbol in sorted((length, symbol) for symbol, length in enumerate(_LENGTHS)):
        code <<= length - length_before
        length_before = length
        node = _ROOT
        for place in range(length - 1, 0, -1):
            bit = code >> place & 1
            if not tree[node][bit]:
                tree.append([0, 0])
                tree[node][bit] = len(tree) - 1
            node = tree[node][bit]
        tree[node][code & 1] = ~symbol
        code += 1
    return tree


_TREE: Final = _make_tree()


def _padding_nodes() -> frozenset[int]:
    """Where a string may end: at a symbol's end, or within the first 7 bits of EOS, which are ones."""
    nodes = {_ROOT}
    node = _ROOT
    for _ in range(7):
        node = _TREE[node][1]
        nodes.add(node)
    return frozenset(nodes)


_MAY_END: Final = _padding_nodes()
_PAIR: Final = struct.Struct("=H")
# (node << 16 | octets as a 16-bit integer of this machine) to (symbols, node after << 16).
_steps: Final[dict[int, tuple[bytes, int]]] = {}
# Pairs of octets that were met, in all nodes: beyond, all are forgotten.
_MOST_STEPS: Final = 1 << 14


def _make_step(state: int) -> tuple[bytes, int]:
    node = state >> 16
    symbols = bytearray()
    for octet in _PAIR.pack(state & 0xFFFF):
        node = _walk(node, octet, symbols)
    if len(_steps) >= _MOST_STEPS:
        _steps.clear()
    step = _steps[state] = (bytes(symbols), node << 16)
    return step


def _walk(node: int, octet: int, symbols: bytearray) -> int:
    """The node that `octet` leads to; what it completes is added to `symbols`."""
    for place in range(7, -1, -1):
        node = _TREE[node][octet >> place & 1]
        if node < 0:
            if ~node == _EOS:
                raise HuffmanError("EOS in a string")
            symbols.append(~node)
            node = _ROOT
    return node


# Encoded strings and what they say.
_strings: Final[dict[bytes, bytes]] = {}
_MOST_STRINGS: Final = 1 << 14
_MOST_STRING_BYTES: Final = 64


def decode_huffman(data: bytes) -> bytes:
    """The string that `data` encodes; raises HuffmanError."""
    known = _strings.get(data)
    if known is not None:
        return known
    text = _decode(data)
    if len(data) <= _MOST_STRING_BYTES:
        if len(_strings) >= _MOST_STRINGS:
            _strings.clear()
        _strings[data] = text
    return text


def forget_huffman() -> None:
    """Give back what is remembered of earlier strings.

    It is little, but what was made while memory was full lies between all the rest: a few thousand small
    strings can keep hundreds of megabytes from going back to the system after a peak.
    """
    _strings.clear()
    _steps.clear()


def _decode(data: bytes) -> bytes:
    steps = _steps
    out = []
    state = 0
    even = len(data) & ~1
    for pair in memoryview(data)[:even].cast("H"):
        step = steps.get(state | pair)
        if step is None:
            step = _make_step(state | pair)
        symbols, state = step
        out.append(symbols)
    node = state >> 16
    if even != len(data):
        last = bytearray()
        node = _walk(node, data[even], last)
        out.append(bytes(last))
    if node not in _MAY_END:
        raise HuffmanError("padding is not the beginning of EOS, or too long")
    return b"".join(out)
