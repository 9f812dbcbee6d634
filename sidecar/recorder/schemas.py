"""Schemas: what messages a method of gRPC has, as INFERTAP_DESCRIPTOR_SET or the model itself tells.

The model is asked by `reflection`, beside the pipeline and never waited for.
"""

from collections.abc import Mapping

from sidecar.config import Settings
from sidecar.recorder.descriptor_set import read_descriptor_set
from sidecar.recorder.payloads import MethodTypes
from sidecar.recorder.reflection import Reflection


class Schemas:
    """The methods that are known so far. Asked by the pipeline, for methods that no reader knows."""

    def __init__(
        self, described: Mapping[str, MethodTypes] | None = None, reflection: Reflection | None = None
    ) -> None:
        self._described = described or {}
        self._reflection = reflection

    @classmethod
    def of(cls, settings: Settings) -> "Schemas":
        """Those that `settings` ask for. Raises DescriptorSetError."""
        reflection = Reflection(settings) if settings.grpc_reflection else None
        return cls(read_descriptor_set(settings.descriptor_set), reflection)

    def types(self, route: int, path: str, is_served: bool) -> MethodTypes | None:
        """What the method at `path` takes and gives; None where that is not known, or not yet.

        `is_served`: the model did not say that it has no such method.
        """
        found = self._described.get(path)
        if found is None and self._reflection is not None:
            found = self._reflection.types(route, path, is_served)
        return found
