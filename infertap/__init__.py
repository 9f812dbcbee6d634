"""The package users import: `from infertap import Client, AsyncClient`.

The clients are imported on first use, so that processes which only need the contract (`infertap.v1`) or the
settings (`infertap.settings`) stay small; the sidecar's relay must not load grpc at all.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from infertap.client import AsyncClient as AsyncClient
    from infertap.client import Client as Client

__version__ = "0.1.0"
__all__ = ["AsyncClient", "Client", "__version__"]


def __getattr__(name: str) -> Any:
    if name in ("AsyncClient", "Client"):
        import infertap.client  # noqa: PLC0415  (see above)

        return getattr(infertap.client, name)
    raise AttributeError(f"module 'infertap' has no attribute {name!r}")
