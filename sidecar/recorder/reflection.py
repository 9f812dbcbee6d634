"""Reflection: asks models what their gRPC services look like (grpc.io, "Server reflection").

Touches the models' addresses, from a thread of its own. It promises: nobody waits for an answer; a service
is asked for once, a model that can't or won't tell ever more rarely; what is kept of all answers is bounded.
Where clients were redirected from their own addresses (`original`) there is no one to ask.
"""

import queue
import re
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.message import DecodeError
from grpc_reflection.v1alpha import reflection_pb2

from infertap.setting_files import UnusableFileError, read_file
from infertap.settings import Address, Endpoint, UnixPath
from sidecar.config import Settings
from sidecar.event_log import log_event
from sidecar.recorder.payloads import (
    DESCRIPTOR_BYTES,
    DescriptorError,
    MethodTypes,
    missing_imports,
    read_methods,
    service_of,
)

# For one question; a service may take several, one for each import that did not come along.
_CALL_SECONDS: Final = 5.0
_SERVICE_SECONDS: Final = 20.0
# After a failure: doubled up to the most.
_AGAIN_SECONDS: Final = 2.0
_AGAIN_MOST_SECONDS: Final = 600.0
# Of one model.
_MOST_SERVICES: Final = 64
# As a system has them: some 250 KB.
_CA_BYTES: Final = 4 << 20
_NAME: Final = re.compile(r"[A-Za-z_][\w.]{0,255}", re.ASCII)
# v1 and v1alpha differ by their names only (grpc/grpc-proto, reflection/v1/reflection.proto).
_METHODS: Final = tuple(
    f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo" for version in ("v1", "v1alpha")
)
_OPTIONS: Final = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.primary_user_agent", "infertap"),
    ("grpc.max_receive_message_length", DESCRIPTOR_BYTES),
    ("grpc.enable_retries", 0),
    # Channels share nothing: this one is closed after its questions.
    ("grpc.use_local_subchannel_pool", 1),
)


class _NotToldError(Exception):
    """The model answered that it has no such thing, or something that can't be used."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What is known of a service, or of a model; without methods it may be asked again at that time."""

    methods: dict[str, MethodTypes] | None
    again_at: float
    failures: int


class Reflection:
    """What the models of all routes told. `types` is called by one thread, the pipeline's."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` tells seconds. Nothing is asked, and no thread started, before a service is met."""
        self._settings = settings
        self._clock = clock
        self._models = [route.upstream for route in settings.all_routes()]
        # By route and service; the model as a whole under an empty name. Written by the thread that asks.
        self._told: dict[tuple[int, str], _Told] = {}
        self._asked: set[tuple[int, str]] = set()
        self._questions: queue.SimpleQueue[tuple[int, str] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def types(self, route: int, path: str, is_served: bool) -> MethodTypes | None:
        """What the method at `path` takes and gives, if it is known by now; else it is asked for."""
        service = service_of(path)
        told = self._told.get((route, service))
        if told is not None and told.methods is not None:
            return told.methods.get(path)
        if is_served and _NAME.fullmatch(service):
            self._ask(route, service)
        return None

    def close(self) -> None:
        """Ask no more. What is under way ends by itself."""
        self._questions.put(None)

    def _ask(self, route: int, service: str) -> None:
        key = route, service
        if key in self._asked or not 0 <= route < len(self._models):
            return
        if not isinstance(self._models[route], Address | UnixPath):
            return
        now = self._clock()
        for each in (key, (route, "")):
            told = self._told.get(each)
            if told is not None and now < told.again_at:
                return
        is_new = key not in self._told
        if is_new and sum(known == route for known, _ in list(self._told)) > _MOST_SERVICES:
            return
        self._asked.add(key)
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="reflection", daemon=True)
            self._thread.start()
        self._questions.put(key)

    # -- the thread that asks

    def _work(self) -> None:
        while (key := self._questions.get()) is not None:
            try:
                self._look_up(*key)
            except Exception as fault:  # what a model says must not end this; its text may quote anything
                log_event("recorder", "reflection failed", route=key[0], fault=type(fault).__name__)
                self._failed(key)
            self._asked.discard(key)

    def _look_up(self, route: int, service: str) -> None:
        model = self._models[route]
        assert isinstance(model, Address | UnixPath)
        try:
            with _channel(model, self._settings) as channel:
                methods = read_methods(_Questions(channel, self._clock).files_of(service))
        except (_NotToldError, DescriptorError):
            self._failed((route, service))
        except (grpc.RpcError, UnusableFileError) as error:
            if (route, "") not in self._told:
                code = _code(error)
                reason = code.name if code else type(error).__name__
                log_event("recorder", "model tells nothing of its services", route=route, reason=reason)
            self._failed((route, ""))
        else:
            wanted = {path: types for path, types in methods.items() if service_of(path) == service}
            self._told[route, service] = _Told(wanted, 0.0, 0)

    def _failed(self, key: tuple[int, str]) -> None:
        before = self._told.get(key)
        failures = before.failures + 1 if before else 1
        wait = min(_AGAIN_SECONDS * 2 ** min(failures - 1, 20), _AGAIN_MOST_SECONDS)
        self._told[key] = _Told(None, self._clock() + wait, failures)


class _Questions:
    """Questions to one model about one service."""

    def __init__(self, channel: grpc.Channel, clock: Callable[[], float]) -> None:
        self._channel = channel
        self._clock = clock
        self._deadline = clock() + _SERVICE_SECONDS
        self._method = _METHODS[0]
        self._bytes = 0

    def files_of(self, service: str) -> list[FileDescriptorProto]:
        """The file that describes `service`, and what it imports. Raises _NotToldError, grpc.RpcError."""
        files: dict[str, FileDescriptorProto] = {}
        self._add(files, reflection_pb2.ServerReflectionRequest(file_containing_symbol=service))
        while missing := missing_imports(files):
            self._add(files, reflection_pb2.ServerReflectionRequest(file_by_filename=missing[0]))
            if missing[0] not in files:
                raise _NotToldError
        return list(files.values())

    def _add(
        self, files: dict[str, FileDescriptorProto], question: reflection_pb2.ServerReflectionRequest
    ) -> None:
        answer = self._answer(question)
        for encoded in answer.file_descriptor_response.file_descriptor_proto:
            self._bytes += len(encoded)
            if self._bytes > DESCRIPTOR_BYTES:
                raise _NotToldError
            try:
                file = FileDescriptorProto.FromString(encoded)
            except DecodeError:
                raise _NotToldError from None
            files.setdefault(file.name, file)

    def _answer(
        self, question: reflection_pb2.ServerReflectionRequest
    ) -> reflection_pb2.ServerReflectionResponse:
        try:
            return self._call(question)
        except grpc.RpcError as error:
            if _code(error) is not grpc.StatusCode.UNIMPLEMENTED or self._method == _METHODS[1]:
                raise
        self._method = _METHODS[1]
        return self._call(question)

    def _call(
        self, question: reflection_pb2.ServerReflectionRequest
    ) -> reflection_pb2.ServerReflectionResponse:
        ask = self._channel.stream_stream(
            self._method,
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        seconds = min(_CALL_SECONDS, self._deadline - self._clock())
        if seconds <= 0:
            raise _NotToldError
        for answer in ask(iter((question,)), timeout=seconds):
            if answer.HasField("error_response"):
                break
            return answer
        raise _NotToldError


def _code(error: Exception) -> grpc.StatusCode | None:
    """The status of a call that failed; errors of grpc are calls too, which its types don't say."""
    code = getattr(error, "code", None)
    return code() if callable(code) else None


def _channel(model: Endpoint, settings: Settings) -> grpc.Channel:
    """A channel to `model`, met as the relay meets it. Raises UnusableFileError for its authorities."""
    if isinstance(model, UnixPath):
        return grpc.insecure_channel(str(model), options=_OPTIONS)
    host = f"[{model.host}]" if ":" in model.host else model.host
    target = f"{host}:{model.port}"
    if not model.tls:
        return grpc.insecure_channel(target, options=_OPTIONS)
    name = settings.upstream_server_name
    named = (("grpc.ssl_target_name_override", name), ("grpc.default_authority", name)) if name else ()
    authorities = settings.upstream_ca_file or ssl.get_default_verify_paths().cafile
    roots = read_file(authorities, _CA_BYTES) if authorities else None
    return grpc.secure_channel(target, grpc.ssl_channel_credentials(roots), options=(*_OPTIONS, *named))
