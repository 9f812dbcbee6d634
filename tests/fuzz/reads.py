"""Reads: how a fuzzer's bytes become reads of a connection, and seeds become such bytes.

    read    flag u8: 0x80 from the model, low seven bits the length; 127: u16be length follows | bytes

What is left when a length goes too far is the last read. A read of no bytes is for targets to give a meaning.
"""

from collections.abc import Iterable

Read = tuple[bool, bytes]


def read_reads(data: bytes) -> list[Read]:
    """(is from the model, bytes) of each read."""
    reads = []
    while data:
        flag, size, at = data[0], data[0] & 0x7F, 1
        if size == 0x7F:
            size, at = int.from_bytes(data[1:3], "big"), 3
        reads.append((flag >= 0x80, data[at : at + size]))
        data = data[at + size :]
    return reads


def write_reads(reads: Iterable[Read]) -> bytes:
    """The inverse, for reads below 64 KiB."""
    out = bytearray()
    for from_model, read in reads:
        size = len(read)
        out.append((0x80 if from_model else 0) | min(size, 0x7F))
        if size >= 0x7F:
            out += size.to_bytes(2, "big")
        out += read
    return bytes(out)


def joined(reads: list[Read]) -> list[Read]:
    """The same bytes in as few reads as keep the order of both directions, and of empty reads."""
    out: list[Read] = []
    for from_model, read in reads:
        if out and out[-1][0] == from_model and out[-1][1] and read:
            out[-1] = (from_model, out[-1][1] + read)
        else:
            out.append((from_model, read))
    return out
