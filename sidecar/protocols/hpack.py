"""HPACK: decodes the header blocks of HTTP/2 (RFC 7541), and makes the one literal that the tap appends.

Pure. A decoder follows one direction of one connection and never encodes: what the tap adds is a literal
without indexing, which changes no dynamic table (section 6.2.2). Everything that comes from outside is
limited: integers, strings, fields, the list's size, the table. After an HpackError the direction can't be
followed any more.

Blocks that change no table are remembered until the table changes, so a block that comes again costs one
look-up.
"""

from typing import Final

from sidecar.protocols.huffman import HuffmanError, decode_huffman

Field = tuple[bytes, bytes]

DEFAULT_TABLE_BYTES: Final = 4096
# RFC 7541, section 4.1: what an entry weighs beside its name and value. RFC 9113, section 6.5.2, too.
FIELD_OVERHEAD: Final = 32
# No name and value of the static table are longer than this together.
STATIC_FIELD_BYTES: Final = 28
# More than any server takes. Of the list only what its table gives to it is limited here, which a byte can
# ask for again and again; the block itself is as long as its reader lets it be.
_MOST_REFERRED_BYTES: Final = 64 << 10
_MOST_FIELDS: Final = 1000
# Tables larger than this are refused by ending the decoding: they would be ours to keep, for each connection,
# and small entries weigh five times in memory what they count.
_MOST_TABLE_BYTES: Final = 64 << 10
# RFC 7541, section 5.1: integers beyond what any limit here allows are not read on.
_MOST_INTEGER_BYTES: Final = 5
# RFC 7541, section 4.2: the smallest size since the last block, and the final one.
_MOST_SIZE_UPDATES: Final = 2
_MEMO_BLOCKS: Final = 64
_MEMO_BLOCK_BYTES: Final = 1 << 10
# A byte can name a field: without this, what is remembered would weigh far more than the blocks.
_MEMO_BLOCK_FIELDS: Final = 64
# What an entry of a table weighs in memory beyond what it counts.
_ENTRY_BYTES: Final = 140
# What remembered blocks weigh at most in all, and each field of one.
_MEMO_BYTES: Final = 128 << 10
_MEMO_FIELD: Final = 160

# RFC 7541, appendix A.
_STATIC: Final[tuple[Field, ...]] = (
    (b"", b""),
    (b":authority", b""),
    (b":method", b"GET"),
    (b":method", b"POST"),
    (b":path", b"/"),
    (b":path", b"/index.html"),
    (b":scheme", b"http"),
    (b":scheme", b"https"),
    (b":status", b"200"),
    (b":status", b"204"),
    (b":status", b"206"),
    (b":status", b"304"),
    (b":status", b"400"),
    (b":status", b"404"),
    (b":status", b"500"),
    (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"),
    (b"accept-language", b""),
    (b"accept-ranges", b""),
    (b"accept", b""),
    (b"access-control-allow-origin", b""),
    (b"age", b""),
    (b"allow", b""),
    (b"authorization", b""),
    (b"cache-control", b""),
    (b"content-disposition", b""),
    (b"content-encoding", b""),
    (b"content-language", b""),
    (b"content-length", b""),
    (b"content-location", b""),
    (b"content-range", b""),
    (b"content-type", b""),
    (b"cookie", b""),
    (b"date", b""),
    (b"etag", b""),
    (b"expect", b""),
    (b"expires", b""),
    (b"from", b""),
    (b"host", b""),
    (b"if-match", b""),
    (b"if-modified-since", b""),
    (b"if-none-match", b""),
    (b"if-range", b""),
    (b"if-unmodified-since", b""),
    (b"last-modified", b""),
    (b"link", b""),
    (b"location", b""),
    (b"max-forwards", b""),
    (b"proxy-authenticate", b""),
    (b"proxy-authorization", b""),
    (b"range", b""),
    (b"referer", b""),
    (b"refresh", b""),
    (b"retry-after", b""),
    (b"server", b""),
    (b"set-cookie", b""),
    (b"strict-transport-security", b""),
    (b"transfer-encoding", b""),
    (b"user-agent", b""),
    (b"vary", b""),
    (b"via", b""),
    (b"www-authenticate", b""),
)
_FIRST_DYNAMIC: Final = len(_STATIC)


class HpackError(ValueError):
    """The block can't be decoded, or goes beyond a limit. Never holds what was in it."""


class ListLimitError(HpackError):
    """A header list, or a table, larger than what is read."""


class HpackDecoder:
    """Decodes the blocks of one direction, in order."""

    __slots__ = (
        "_allowed_bytes",
        "_entries",
        "_memo",
        "_memo_bytes",
        "_owed_bytes",
        "_sizes",
        "_table_bytes",
        "_used_bytes",
        "list_bytes",
    )

    def __init__(self) -> None:
        # Newest last; and what the name and value of each hold.
        self._entries: list[Field] = []
        self._sizes: list[int] = []
        self._used_bytes = 0
        self._table_bytes = DEFAULT_TABLE_BYTES
        # What the receiver's settings allow.
        self._allowed_bytes = DEFAULT_TABLE_BYTES
        # The size that the next block must begin by going down to, if any.
        self._owed_bytes: int | None = None
        # What the names and values of the last list hold at most, less what the static table gives to it.
        self.list_bytes = 0
        self._memo: dict[bytes, tuple[list[Field], int]] = {}
        self._memo_bytes = 0

    @property
    def weight(self) -> int:
        """Roughly how many bytes of memory the table and what is remembered take."""
        return self._used_bytes + len(self._entries) * _ENTRY_BYTES + self._memo_bytes

    def allow_table(self, size: int) -> None:
        """The receiver's SETTINGS_HEADER_TABLE_SIZE is `size`, and the sender has acknowledged it.

        The sender shrinks the table itself, by a size update at the beginning of its next block; a block
        without it is an error (RFC 9113, section 4.3.1), as what its sender keeps can't be known.
        """
        self._allowed_bytes = size
        if size < (self._table_bytes if self._owed_bytes is None else self._owed_bytes):
            self._owed_bytes = size
            self._forget()

    def decode(self, block: bytes) -> list[Field]:
        """The fields of a whole header block, in order; not to be changed. Raises HpackError."""
        known = self._memo.get(block)
        if known is not None:
            fields, self.list_bytes = known
            return fields
        try:
            return self._decode(block)
        except IndexError:
            raise HpackError("block ends within a field, or an index lies beyond the tables") from None
        except HuffmanError as error:
            raise HpackError(str(error)) from None

    def _decode(self, block: bytes) -> list[Field]:  # noqa: PLR0912, PLR0915  (flat: paid for by every call)
        fields: list[Field] = []
        entries = self._entries
        sizes = self._sizes
        place = 0
        if b"\x20" <= block < b"\x40" or self._owed_bytes is not None:
            place = self._update_sizes(block)
        changes = place > 0
        end = len(block)
        may_be_many = end > _MOST_FIELDS  # a field takes a byte at least
        # What the table adds to the list beyond the block's own bytes.
        referred = 0
        while place < end:
            first = block[place]
            place += 1
            if first >= 0x80:  # section 6.1: indexed
                index = first & 0x7F
                if index == 0x7F:
                    index, place = _read_integer(block, place, 0x7F)
                if index >= _FIRST_DYNAMIC:
                    field = entries[_FIRST_DYNAMIC - 1 - index]
                    referred += sizes[_FIRST_DYNAMIC - 1 - index]
                elif index:
                    field = _STATIC[index]
                else:
                    raise HpackError("index 0")
                fields.append(field)
            elif 0x20 <= first < 0x40:  # section 6.3: size update, only at the beginning
                raise HpackError("size update after a field, or too many")
            else:  # section 6.2: literal, to be indexed where the second bit is set
                most = 0x3F if first >= 0x40 else 0x0F
                index = first & most
                if index == most:
                    index, place = _read_integer(block, place, most)
                if index == 0:
                    name, place = _read_string(block, place)
                elif index < _FIRST_DYNAMIC:
                    name = _STATIC[index][0]
                else:
                    name = entries[_FIRST_DYNAMIC - 1 - index][0]
                    referred += len(name)
                value, place = _read_string(block, place)
                field = (name, value)
                if first >= 0x40:
                    self._insert(field)
                    changes = True
                fields.append(field)
            if may_be_many and len(fields) > _MOST_FIELDS:
                raise ListLimitError("header list is too large")
        if referred > _MOST_REFERRED_BYTES:
            raise ListLimitError("header list is too large")
        # Section 5.2: no Huffman code is shorter than five bits.
        self.list_bytes = referred + 2 * end
        if not changes and end <= _MEMO_BLOCK_BYTES and len(fields) <= _MEMO_BLOCK_FIELDS:
            self._remember(block, fields)
        return fields

    def _remember(self, block: bytes, fields: list[Field]) -> None:
        weight = 3 * len(block) + len(fields) * _MEMO_FIELD
        if len(self._memo) >= _MEMO_BLOCKS or self._memo_bytes + weight > _MEMO_BYTES:
            self._forget()
        self._memo[block] = (fields, self.list_bytes)
        self._memo_bytes += weight

    def _forget(self) -> None:
        self._memo.clear()
        self._memo_bytes = 0

    def _insert(self, field: Field) -> None:
        """Section 4.4: an entry larger than the table empties it."""
        if self._memo:
            self._forget()
        size = len(field[0]) + len(field[1])
        self._entries.append(field)
        self._sizes.append(size)
        self._used_bytes += size + FIELD_OVERHEAD
        if self._used_bytes > self._table_bytes:
            self._evict()

    def _evict(self) -> None:
        count = 0
        while self._used_bytes > self._table_bytes:
            self._used_bytes -= self._sizes[count] + FIELD_OVERHEAD
            count += 1
        del self._entries[:count]
        del self._sizes[:count]

    def _update_sizes(self, block: bytes) -> int:
        """Take the size updates that a block may begin with; see that those it must are there."""
        place = 0
        for _ in range(_MOST_SIZE_UPDATES):
            if not 0x20 <= block[place] < 0x40:
                break
            place = self._update_size(block, place + 1, block[place] & 0x1F)
            if place == len(block):
                break
        if self._owed_bytes is not None:
            raise HpackError("table was not made smaller")
        return place

    def _update_size(self, block: bytes, place: int, size: int) -> int:
        if size == 0x1F:
            size, place = _read_integer(block, place, 0x1F)
        if size > self._allowed_bytes:
            raise HpackError("table is larger than allowed")
        if size > _MOST_TABLE_BYTES:
            raise ListLimitError("table is too large")
        if self._owed_bytes is not None:
            if size > self._owed_bytes:
                raise HpackError("table was not made small enough")
            self._owed_bytes = None
        self._table_bytes = size
        self._forget()
        self._evict()
        return place


def _read_integer(block: bytes, place: int, value: int) -> tuple[int, int]:
    """Section 5.1: the rest of an integer whose prefix is full; the value and where it ends."""
    for shift in range(0, 7 * _MOST_INTEGER_BYTES, 7):
        byte = block[place]
        place += 1
        value += (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise HpackError("integer is too long")


def _read_string(block: bytes, place: int) -> tuple[bytes, int]:
    """Section 5.2: a string and where it ends."""
    first = block[place]
    place += 1
    size = first & 0x7F
    if size == 0x7F:
        size, place = _read_integer(block, place, 0x7F)
    end = place + size
    if end > len(block):
        raise HpackError("string is longer than its block")
    text = block[place:end]
    return (decode_huffman(text) if first >= 0x80 else text), end


def literal_without_indexing(name: bytes, value: bytes) -> bytes:
    """A field as section 6.2.2 writes it: new name, unencoded strings, for names below 127 bytes."""
    if len(value) < 0x7F:
        return b"\0%c%b%c%b" % (len(name), name, len(value), value)
    rest = len(value) - 0x7F  # section 5.1: below 128 in one byte, as 254 bytes are enough for any id
    return b"\0%c%b\x7f%c%b" % (len(name), name, rest, value)
