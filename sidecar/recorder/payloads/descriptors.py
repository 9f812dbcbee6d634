"""Descriptors: the methods that files of protobuf describe, from a FileDescriptorSet or a model's reflection.

Pure. Each set of files has a pool of its own: two models may mean different things by one name.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from google.protobuf import (
    any_pb2,
    api_pb2,
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    empty_pb2,
    field_mask_pb2,
    source_context_pb2,
    struct_pb2,
    timestamp_pb2,
    type_pb2,
    wrappers_pb2,
)
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

# Request and response of a method.
MethodTypes = tuple[type[Message], type[Message]]
# Of one set of files.
MOST_FILES: Final = 2000
DESCRIPTOR_BYTES: Final = 8 << 20
_MOST_METHODS: Final = 10_000
# Files of protobuf itself: others use them without bringing them along.
_WELL_KNOWN: Final = {
    module.DESCRIPTOR.name: module.DESCRIPTOR
    for module in (
        *(any_pb2, api_pb2, descriptor_pb2, duration_pb2, empty_pb2, field_mask_pb2, source_context_pb2),
        *(struct_pb2, timestamp_pb2, type_pb2, wrappers_pb2),
    )
}


class DescriptorError(ValueError):
    """The files describe nothing that can be used; the message says why, in words of ours."""


def read_set(encoded: bytes) -> dict[str, MethodTypes]:
    """The methods of a FileDescriptorSet, by path (`/package.Service/Method`). Raises DescriptorError."""
    if len(encoded) > DESCRIPTOR_BYTES:
        raise DescriptorError(f"more than {DESCRIPTOR_BYTES} bytes")
    try:
        files = descriptor_pb2.FileDescriptorSet.FromString(encoded).file
    except DecodeError:
        raise DescriptorError("no FileDescriptorSet (protoc --descriptor_set_out)") from None
    return read_methods(files)


def read_methods(files: Iterable[descriptor_pb2.FileDescriptorProto]) -> dict[str, MethodTypes]:
    """The methods that `files` describe. Raises DescriptorError."""
    by_name = {file.name: file for file in files}
    if missing := missing_imports(by_name):
        raise DescriptorError(f"an import is missing: {missing[0]} (protoc --include_imports)")
    pool = descriptor_pool.DescriptorPool()
    try:
        for file in _in_order(by_name):
            pool.AddSerializedFile(file.SerializeToString())
        return _methods(pool, by_name)
    except (TypeError, KeyError, ValueError) as error:
        raise DescriptorError("the files contradict themselves or each other") from error


def missing_imports(files: Mapping[str, descriptor_pb2.FileDescriptorProto]) -> list[str]:
    """Files that `files` import, and that are not there."""
    wanted = {name for file in files.values() for name in file.dependency}
    return sorted(name for name in wanted if name not in files and name not in _WELL_KNOWN)


def _known(name: str) -> descriptor_pb2.FileDescriptorProto | None:
    found = _WELL_KNOWN.get(name)
    return descriptor_pb2.FileDescriptorProto.FromString(found.serialized_pb) if found else None


def _in_order(
    files: Mapping[str, descriptor_pb2.FileDescriptorProto],
) -> Iterable[descriptor_pb2.FileDescriptorProto]:
    """`files` and what they import, each behind its imports."""
    done: set[str] = set()
    begun: set[str] = set()
    waiting = list(files)
    while waiting:
        if len(begun) > MOST_FILES:
            raise DescriptorError(f"more than {MOST_FILES} files")
        name = waiting[-1]
        file = files.get(name) or _known(name)
        if name in done or file is None:
            waiting.pop()
            continue
        ahead = [] if name in begun else [each for each in file.dependency if each not in done]
        begun.add(name)
        if ahead:
            waiting += ahead
            continue
        waiting.pop()
        done.add(name)
        yield file


def _methods(pool: Any, files: Iterable[str]) -> dict[str, MethodTypes]:
    methods: dict[str, MethodTypes] = {}
    for name in files:
        for service in pool.FindFileByName(name).services_by_name.values():
            for method in service.methods:
                types = GetMessageClass(method.input_type), GetMessageClass(method.output_type)
                methods[f"/{service.full_name}/{method.name}"] = types
                if len(methods) > _MOST_METHODS:
                    raise DescriptorError(f"more than {_MOST_METHODS} methods")
    return methods


def service_of(path: str) -> str:
    """The service in a path such as `/package.Service/Method`; empty where there is none."""
    return path[1:].rpartition("/")[0] if path.startswith("/") else ""
