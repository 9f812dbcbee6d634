"""Tests of what the DuckDB engine's failures are told as."""

import duckdb
import pytest

from storage.archive.duckdb_files import said

SECRET = "alice@example.com"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            duckdb.IOException(f'IO Error: Could not write file "/srv/{SECRET}": No space left on device'),
            "No space left on device",
        ),
        (duckdb.OutOfMemoryException("Out of Memory Error: failed to pin block"), "memory is used up"),
        (
            duckdb.ConversionException(f"Conversion Error: Could not convert string '{SECRET}'"),
            "the engine failed: Conversion",
        ),
        (
            duckdb.SerializationException(f"Serialization Error: Failed to deserialize: {SECRET}"),
            "the engine failed: Serialization",
        ),
    ],
)
def test_errors_hold_no_path_and_no_value(error: duckdb.Error, told: str) -> None:
    """What senders and logs are told of an engine's error says its kind, and neither paths nor values."""
    assert told in said(error)
    assert SECRET not in said(error)
    assert "/" not in said(error)
