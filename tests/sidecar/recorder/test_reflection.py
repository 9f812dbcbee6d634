"""Models are asked for the schema of their services: once, beside the pipeline; in vain ever more rarely."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from google.protobuf import descriptor_pool
from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
from grpc_reflection.v1alpha import reflection, reflection_pb2

from sidecar import config
from sidecar.recorder.payloads import MethodTypes
from sidecar.recorder.reflection import Reflection

SERVICE = "zoo.v1.Zoo"
PATH = f"/{SERVICE}/Feed"
SECONDS = 20.0
VERSIONS = ("v1", "v1alpha")
Start = Callable[..., "Zoo"]


def described() -> descriptor_pool.DescriptorPool:
    """A service in one file, its message in another."""
    animal = FileDescriptorProto(name="zoo/animal.proto", package="zoo.v1", syntax="proto3")
    animal.message_type.add(name="Animal").field.add(
        name="name",
        number=1,
        type=FieldDescriptorProto.TYPE_STRING,
        label=FieldDescriptorProto.LABEL_OPTIONAL,
    )
    zoo = FileDescriptorProto(
        name="zoo/zoo.proto", package="zoo.v1", syntax="proto3", dependency=["zoo/animal.proto"]
    )
    zoo.service.add(name="Zoo").method.add(
        name="Feed", input_type=".zoo.v1.Animal", output_type=".zoo.v1.Animal"
    )
    pool = descriptor_pool.DescriptorPool()
    for file in (animal, zoo):
        pool.AddSerializedFile(file.SerializeToString())
    return pool


class Zoo:
    """A server of nothing but reflection, which counts what it is asked."""

    def __init__(self, address: str, version: str, credentials: grpc.ServerCredentials | None) -> None:
        self.questions: list[str] = []
        self.asked = threading.Event()
        self.answers_files_one_by_one = False
        self.may_answer = threading.Event()
        self.may_answer.set()
        self._servicer = reflection.ReflectionServicer([SERVICE], described())
        self._server = grpc.server(futures.ThreadPoolExecutor(4))
        handler = grpc.stream_stream_rpc_method_handler(
            self._answer,
            request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
            response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        self._server.add_generic_rpc_handlers(
            [
                grpc.method_handlers_generic_handler(
                    f"grpc.reflection.{version}.ServerReflection", {"ServerReflectionInfo": handler}
                )
            ]
        )
        if credentials is None:
            port = self._server.add_insecure_port(address)
        else:
            port = self._server.add_secure_port(address, credentials)
        self.address = address if address.startswith("unix:") else f"127.0.0.1:{port}"
        self._server.start()

    def _answer(self, questions: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
        for question in questions:
            self.questions.append(question.WhichOneof("message_request"))
            self.asked.set()
            self.may_answer.wait(SECONDS)
            for answer in self._servicer.ServerReflectionInfo(iter((question,)), context):
                if self.answers_files_one_by_one:
                    del answer.file_descriptor_response.file_descriptor_proto[1:]
                yield answer

    def stop(self) -> None:
        self.may_answer.set()
        self._server.stop(0).wait(SECONDS)


@pytest.fixture
def start_zoo() -> Iterator[Start]:
    zoos: list[Zoo] = []

    def start(
        address: str = "127.0.0.1:0", version: str = "v1", credentials: grpc.ServerCredentials | None = None
    ) -> Zoo:
        zoos.append(Zoo(address, version, credentials))
        return zoos[-1]

    yield start
    for zoo in zoos:
        zoo.stop()


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def reflect() -> Iterator[Callable[..., Reflection]]:
    made: list[Reflection] = []

    def make(upstream: str, clock: Callable[[], float] = time.monotonic, **settings: str) -> Reflection:
        environ = {"INFERTAP_UPSTREAM": upstream} | {
            f"INFERTAP_{name.upper()}": value for name, value in settings.items()
        }
        made.append(Reflection(config.read(environ), clock))
        return made[-1]

    yield make
    for each in made:
        each.close()


def await_types(reflection: Reflection, path: str = PATH) -> MethodTypes:
    """What is known once the model has answered."""
    deadline = time.monotonic() + SECONDS
    while (types := reflection.types(0, path, True)) is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return types


def await_true(claim: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not claim():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("version", VERSIONS)
def test_a_service_is_told(start_zoo: Start, reflect: Callable[..., Reflection], version: str) -> None:
    """By either version of reflection; at first nothing is known, and nobody waits."""
    zoo = start_zoo(version=version)
    zoo.may_answer.clear()
    asking = reflect(zoo.address)
    assert asking.types(0, PATH, True) is None
    assert zoo.asked.wait(SECONDS)
    assert asking.types(0, PATH, True) is None
    zoo.may_answer.set()
    assert await_types(asking)[0].DESCRIPTOR.full_name == "zoo.v1.Animal"
    assert asking.types(0, f"/{SERVICE}/Other", True) is None
    assert zoo.questions == ["file_containing_symbol"]


def test_imports_that_do_not_come_along(start_zoo: Start, reflect: Callable[..., Reflection]) -> None:
    """Are asked for by name."""
    zoo = start_zoo()
    zoo.answers_files_one_by_one = True
    assert await_types(reflect(zoo.address))
    assert zoo.questions == ["file_containing_symbol", "file_by_filename"]


def test_unix_socket(start_zoo: Start, reflect: Callable[..., Reflection], tmp_path: Path) -> None:
    """A model behind a Unix socket is asked there."""
    zoo = start_zoo(f"unix:{tmp_path}/zoo.sock")
    assert await_types(reflect(zoo.address))


def test_tls(start_zoo: Start, reflect: Callable[..., Reflection], tmp_path: Path) -> None:
    """A model behind TLS is checked as the relay checks it."""
    authority = trustme.CA()
    issued = authority.issue_cert("model.internal")
    credentials = grpc.ssl_server_credentials(
        [(issued.private_key_pem.bytes(), b"".join(each.bytes() for each in issued.cert_chain_pems))]
    )
    zoo = start_zoo(credentials=credentials)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    trusting = {"upstream_ca_file": str(tmp_path / "ca.pem")}
    named = reflect(f"tls:{zoo.address}", upstream_server_name="model.internal", **trusting)
    assert await_types(named)
    other = reflect(f"tls:{zoo.address}", upstream_server_name="other.internal", **trusting)
    assert other.types(0, PATH, True) is None
    await_true(lambda: bool(other._told))
    assert other.types(0, PATH, True) is None


def test_a_service_that_is_not_there(start_zoo: Start, reflect: Callable[..., Reflection]) -> None:
    """Is asked for again after a while, then ever later; other services are asked for meanwhile."""
    zoo = start_zoo()
    clock = Clock()
    asking = reflect(zoo.address, clock)
    for round_number, wait in enumerate((2, 4, 8), 1):
        assert asking.types(0, "/no.Such/Thing", True) is None
        await_true(lambda number=round_number: len(zoo.questions) == number and not asking._asked)
        clock.now += wait - 0.5
        assert asking.types(0, "/no.Such/Thing", True) is None
        assert not asking._asked
        clock.now += 0.5
    assert await_types(asking)


def test_a_model_without_reflection(start_zoo: Start, reflect: Callable[..., Reflection]) -> None:
    """Is not asked for each of its services."""
    zoo = start_zoo(version="v9")
    clock = Clock()
    asking = reflect(zoo.address, clock)
    assert asking.types(0, PATH, True) is None
    await_true(lambda: bool(asking._told) and not asking._asked)
    assert asking.types(0, "/another.Service/Call", True) is None
    assert not asking._asked


def test_who_is_never_asked(start_zoo: Start, reflect: Callable[..., Reflection]) -> None:
    """Methods the model says it lacks, paths that name no service, and models whose address is not known."""
    zoo = start_zoo()
    asking = reflect(zoo.address)
    assert asking.types(0, PATH, False) is None
    for path in ("", "/", "//", "/Call", "/a b/Call", f"/{'x' * 300}/Call"):
        assert asking.types(0, path, True) is None
    assert reflect("original").types(0, PATH, True) is None
    assert asking.types(7, PATH, True) is None
    assert asking._thread is None


def test_what_is_kept_is_bounded(start_zoo: Start, reflect: Callable[..., Reflection]) -> None:
    """Services that nobody has, made up by clients, are asked for up to a bound."""
    zoo = start_zoo()
    clock = Clock()
    asking = reflect(zoo.address, clock)
    for number in range(200):
        asking.types(0, f"/made.Up{number}/Call", True)
        await_true(lambda: not asking._asked)
    assert len(zoo.questions) <= 65
