"""Every method of the contract says which role it needs."""

from google.protobuf import descriptor_pool

import infertap.v1
from infertap.identity import KNOWN, OPEN, ROLES


def methods_of_the_contract() -> set[str]:
    """All methods of all services in the package, found through the generated stubs."""
    names = [name.removesuffix("Stub") for name in dir(infertap.v1) if name.endswith("Stub")]
    pool = descriptor_pool.Default()
    services = [pool.FindServiceByName(f"infertap.v1.{name}") for name in names]
    return {f"/{service.full_name}/{method.name}" for service in services for method in service.methods}


def test_every_method_has_a_role() -> None:
    """A new method without a role fails here (and is refused); a role of a method that is gone, too."""
    assert set(ROLES) == methods_of_the_contract()


def test_nothing_of_ours_is_open() -> None:
    """Without an identity there is health alone."""
    assert {method.split("/")[1] for method in OPEN} == {"grpc.health.v1.Health"}
    assert not any(method.startswith("/infertap") for method in OPEN | KNOWN)
