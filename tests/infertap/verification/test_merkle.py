"""The tree of RFC 6962, against its definition written down as recursion, and published vectors."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infertap.verification import (
    EMPTY_ROOT,
    Frontier,
    ProofError,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root_of,
)

# The reference data of certificate-transparency's merkle tree tests: eight leaves, and the roots over them.
LEAVES = [
    bytes.fromhex(each)
    for each in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)


def mth(data: list[bytes]) -> bytes:
    """MTH of section 2.1, word for word."""
    if not data:
        return sha256().digest()
    if len(data) == 1:
        return sha256(b"\x00" + data[0]).digest()
    k = 1
    while k * 2 < len(data):
        k *= 2
    return sha256(b"\x01" + mth(data[:k]) + mth(data[k:])).digest()


def path(m: int, data: list[bytes]) -> list[bytes]:
    """PATH of section 2.1.1, word for word."""
    if len(data) == 1:
        return []
    k = 1
    while k * 2 < len(data):
        k *= 2
    if m < k:
        return [*path(m, data[:k]), mth(data[k:])]
    return [*path(m - k, data[k:]), mth(data[:k])]


def proof(m: int, data: list[bytes], known: bool = True) -> list[bytes]:
    """PROOF and SUBPROOF of section 2.1.2, word for word."""
    n = len(data)
    if m == n:
        return [] if known else [mth(data)]
    k = 1
    while k * 2 < n:
        k *= 2
    if m <= k:
        return [*proof(m, data[:k], known), mth(data[k:])]
    return [*proof(m - k, data[k:], False), mth(data[:k])]


def data_of(size: int) -> list[bytes]:
    return [b"leaf %d" % number for number in range(size)]


def subtree_of(data: list[bytes]):
    return lambda first, end: mth(data[first:end])


def test_published_roots() -> None:
    """The roots that implementations of certificate transparency agree on."""
    assert root_of([]) == EMPTY_ROOT == sha256(b"").digest()
    for size, root in enumerate(ROOTS, 1):
        assert root_of(map(leaf_hash, LEAVES[:size])).hex() == root


def test_published_proofs() -> None:
    """Two proofs from the same data."""
    assert [each.hex() for each in inclusion_proof(0, 8, subtree_of(LEAVES))] == [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]
    assert [each.hex() for each in consistency_proof(6, 8, subtree_of(LEAVES))] == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


@pytest.mark.parametrize("size", range(1, 34))
def test_every_small_tree(size: int) -> None:
    """Roots and proofs of all positions and earlier sizes are the definition's, and check."""
    data = data_of(size)
    root = mth(data)
    assert root_of(map(leaf_hash, data)) == root
    for index in range(size):
        made = inclusion_proof(index, size, subtree_of(data))
        assert made == path(index, data)
        check_inclusion(leaf_hash(data[index]), index, size, made, root)
    for old in range(1, size + 1):
        made = consistency_proof(old, size, subtree_of(data))
        assert made == proof(old, data)
        check_consistency(old, mth(data[:old]), size, root, made)


@given(st.integers(1, 300), st.data())
def test_any_tree(size: int, draw: st.DataObject) -> None:
    """Larger trees, grown leaf by leaf, agree with the definition too."""
    data = data_of(size)
    frontier = Frontier()
    for each in data:
        frontier.append(leaf_hash(each))
    index, old = draw.draw(st.integers(0, size - 1)), draw.draw(st.integers(1, size))
    assert frontier.root() == mth(data)
    assert inclusion_proof(index, size, subtree_of(data)) == path(index, data)
    assert consistency_proof(old, size, subtree_of(data)) == proof(old, data)


@given(st.integers(1, 200), st.data())
def test_a_changed_proof_of_inclusion_fails(size: int, draw: st.DataObject) -> None:
    """Another leaf, place, size or sibling, one sibling more or less: none passes."""
    data = data_of(size)
    index = draw.draw(st.integers(0, size - 1))
    made, root = path(index, data), mth(data)
    wrong = [
        (leaf_hash(b"other"), index, size, made, root),
        (leaf_hash(data[index]), index, size, [*made, bytes(32)], root),
        (leaf_hash(data[index]), index, size, made, bytes(32)),
        (leaf_hash(data[index]), size, size, made, root),
        (leaf_hash(data[index]), -1, size, made, root),
    ]
    if made:
        spoilt = draw.draw(st.integers(0, len(made) - 1))
        wrong.append((leaf_hash(data[index]), index, size, made[:-1], root))
        wrong.append(
            (leaf_hash(data[index]), index, size, [*made[:spoilt], bytes(32), *made[spoilt + 1 :]], root)
        )
        wrong.append((leaf_hash(data[index]), (index + 1) % size, size, made, root))
    for each in wrong:
        with pytest.raises(ProofError):
            check_inclusion(*each)


@given(st.integers(1, 200), st.data())
def test_a_changed_proof_of_consistency_fails(size: int, draw: st.DataObject) -> None:
    """A tree that was rewritten or cut can't be shown to begin with the old one."""
    data = data_of(size)
    old = draw.draw(st.integers(1, size))
    made, old_root, root = proof(old, data), mth(data[:old]), mth(data)
    wrong = [
        (old, bytes(32), size, root, made),
        (old, old_root, size, bytes(32), made),
        (old, old_root, size, root, [*made, bytes(32)]),
        (size + 1, old_root, size, root, made),
    ]
    if made:
        wrong.append((old, old_root, size, root, made[:-1]))
        wrong.append((old, old_root, size, root, []))
    for each in wrong:
        with pytest.raises(ProofError):
            check_consistency(*each)


def test_an_empty_tree_is_the_beginning_of_every_tree() -> None:
    """Consistency from size 0 needs no proof, and takes none."""
    check_consistency(0, EMPTY_ROOT, 3, mth(data_of(3)), [])
    with pytest.raises(ProofError):
        check_consistency(0, EMPTY_ROOT, 3, mth(data_of(3)), [bytes(32)])
