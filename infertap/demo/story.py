"""Story: the demo from start to end, as a person sees it."""

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

import grpc

from infertap import v1
from infertap.client import Client, ClientError
from infertap.demo.processes import DemoError, Processes, free_port
from infertap.rendering import Table, in_full

_ROOT: Final = Path(__file__).parents[2]
_MODEL_SERVER: Final = _ROOT / "examples"
_NEEDED: Final = ("duckdb", "aiohttp", "fastapi", "uvicorn", "sklearn", "httpx")
# How long records may take from the sidecar into storage.
_ARRIVE_SECONDS: Final = 20.0
# With the processes' end, it takes less than a minute.
_ONCE_SECONDS: Final = 50


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where everything listens."""

    rest: str
    grpc: str
    sidecar_api: str
    admin: str
    storage: str
    web: str


def run_demo(once: bool) -> int:
    """Run the demo until Ctrl-C, or with `once` until everything was shown; returns the exit status."""
    try:
        _check()
        # All of it is on this machine, and no business of a proxy; its processes inherit this.
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = "127.0.0.1"
        # Ended from outside, it ends in order too.
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        return _run(once)
    except (DemoError, ClientError) as error:
        print(f"\ninfertap demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nended")
        return 0 if not once else 130


def _check() -> None:
    if not (_MODEL_SERVER / "model_server").is_dir():
        raise DemoError("its model server comes with the source, not with the package: run `make demo` there")
    missing = [name for name in _NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        raise DemoError(f"it needs more packages ({', '.join(missing)}): run `make demo`")


def _run(once: bool) -> int:
    directory = Path(".demo").absolute()
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
    with Processes(directory) as processes, _in_time(once):
        addresses = _start(processes)
        calls = _send(addresses)
        records, account = _fetch(addresses, calls)
        _show(records, account, addresses)
        if not once:
            _show_how_to_go_on(records, addresses)
        found = _faults(records, calls, account)
        for fault in found:
            print(f"not as expected: {fault}", file=sys.stderr)
        if once:
            return 1 if found else 0
        print("\nEverything keeps running; Ctrl-C ends it.", flush=True)
        _wait(processes)
    return 0


@contextlib.contextmanager
def _in_time(once: bool) -> Iterator[None]:
    """With `once` the demo ends, whatever hangs; raises DemoError then."""

    def late(*_: object) -> NoReturn:
        raise DemoError(f"not done after {_ONCE_SECONDS} s; see the logs in {Path('.demo').absolute()}")

    signal.signal(signal.SIGALRM, late)
    signal.alarm(_ONCE_SECONDS if once else 0)
    try:
        yield
    finally:
        signal.alarm(0)


def _start(processes: Processes) -> Addresses:
    _say("starting the model server (scikit-learn, FastAPI, gRPC): it knows nothing of infertap")
    rest, inference = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    model = processes.start(
        "model",
        ["-m", "model_server", "--http", rest, "--grpc", inference],
        {"PYTHONPATH": os.pathsep.join((str(_MODEL_SERVER), str(_ROOT)))},
    )
    _say("starting storage")
    storage = processes.start("storage", ["-m", "storage"], _storage_settings(processes.directory))
    listening = storage.event("storage started")
    model.answers(f"http://{rest}/v2/health/ready")
    _say("starting the sidecar in front of the model")
    api = f"127.0.0.1:{free_port()}"
    routes = f"127.0.0.1:0={rest},127.0.0.1:0={inference}"
    sidecar = processes.start(
        "sidecar",
        ["-m", "sidecar"],
        _sidecar_settings(processes.directory, routes, api, str(listening["listen"])),
    )
    started = sidecar.event("sidecar started")
    sidecar.answers(f"http://{started['admin']}/readyz")
    front_rest, front_grpc = started["listen"].split(",")
    return Addresses(
        rest=front_rest,
        grpc=front_grpc,
        sidecar_api=api,
        admin=started["admin"],
        storage=str(listening["listen"]),
        web=str(listening["web"]),
    )


def _storage_settings(directory: Path) -> dict[str, str]:
    return {
        "INFERTAP_ARCHIVE": str(directory / "archive"),
        "INFERTAP_STORAGE_LISTEN": "127.0.0.1:0",
        "INFERTAP_WEB_LISTEN": "127.0.0.1:0",
    }


def _sidecar_settings(directory: Path, routes: str, api: str, storage: str) -> dict[str, str]:
    return {
        "INFERTAP_ROUTES": routes,
        "INFERTAP_ADMIN_LISTEN": "127.0.0.1:0",
        "INFERTAP_API_LISTEN": api,
        "INFERTAP_SPOOL_DIR": str(directory / "spool"),
        "INFERTAP_SPOOL_BYTES": "256MiB",
        "INFERTAP_STORAGE": storage,
        "INFERTAP_DRAIN_DELAY_SECONDS": "0",
        "INFERTAP_SOURCE_POD": "demo",
        "INFERTAP_SOURCE_CONTAINER": "model_server",
    }


def _send(addresses: Addresses) -> int:
    """Make the calls, each with what it shows; returns how many."""
    # httpx is known to be there by now.
    import httpx  # noqa: PLC0415

    from infertap.demo.traffic import Clients  # noqa: PLC0415

    _say("calling the model through the sidecar")
    clients = Clients(addresses.rest, addresses.grpc)
    count = 0
    try:
        for what, act in clients.calls():
            print(f"  {what:<46}", end="", flush=True)
            try:
                print(act(), flush=True)
            except (httpx.HTTPError, grpc.RpcError) as error:
                raise DemoError(f"{what}: {error!r}; see the logs in {Path('.demo').absolute()}") from None
            count += 1
    finally:
        clients.close()
    return count


def _fetch(addresses: Addresses, calls: int) -> tuple[list[v1.Record], dict[str, Any]]:
    """The records, once they have all arrived or time is up, and the account."""
    _say("fetching the records from storage, over gRPC")
    until = time.monotonic() + _ARRIVE_SECONDS
    with Client(addresses.storage) as client:
        while True:
            records = list(client.list())
            account = _account(addresses)
            at_rest = account["spool"]["pending"] == 0 and account["hand_over"]["in_transit"] == 0
            if (len(records) >= calls and at_rest) or time.monotonic() > until:
                return records, account
            time.sleep(0.2)


def _account(addresses: Addresses) -> dict[str, Any]:
    try:
        with urllib.request.urlopen(f"http://{addresses.admin}/account", timeout=5) as answer:
            return dict(json.load(answer))
    except OSError as error:
        raise DemoError(f"the sidecar does not tell its account: {error}") from None


def _show(records: list[v1.Record], account: dict[str, Any], addresses: Addresses) -> None:
    print()
    table = Table()
    for record in reversed(records):
        print(table.row(record))
    told = [record for record in records if record.request.redactions and b"<email>" in record.request.data]
    if told:
        print("\nOne of them in full: the client told more than the record keeps\n")
        print("\n".join(f"  {line}" for line in in_full(told[0]).splitlines()))
    print(f"\nEvery call is accounted for (http://{addresses.admin}/account)\n")
    for name, line in account.items():
        if isinstance(line, dict):
            terms = {term: count for term, count in line.items() if term != "balanced"}
            total, *rest = terms.items()
            shown = " + ".join(f"{count} {term}" for term, count in rest if count) or "0"
            print(f"  {name:<10} {total[1]} {total[0]} = {shown}")
    sys.stdout.flush()


def _show_how_to_go_on(records: list[v1.Record], addresses: Addresses) -> None:
    example = records[0].call_id if records else "CALL_ID"
    command_name = _command_name()
    print("\nGo on with\n")
    for what, command in (
        ("list records", f"{command_name} records list --address {addresses.storage}"),
        ("failures only", f"{command_name} records list --state failed --address {addresses.storage}"),
        ("one in full", f"{command_name} records get {example} --address {addresses.storage}"),
        ("watch them come", f"{command_name} records tail --address {addresses.storage}"),
        ("the sidecar's own", f"{command_name} records list --address {addresses.sidecar_api}"),
        ("the page", f"http://{addresses.web}/"),
        (
            "call the model",
            f"curl -s http://{addresses.rest}/v1/chat/completions -H 'content-type: application/json' "
            """-d '{"model": "alice-markov", "messages": [{"role": "user", "content": "Alice"}]}'""",
        ),
    ):
        print(f"  {what:<18} {command}")
    sys.stdout.flush()


def _command_name() -> str:
    """The command as it can be typed here, where its virtual environment may not be active."""
    if shutil.which("infertap"):
        return "infertap"
    return os.path.relpath(Path(sys.executable).parent / "infertap")


def _faults(records: list[v1.Record], calls: int, account: dict[str, Any]) -> list[str]:
    from infertap.demo.expectations import faults  # noqa: PLC0415  (it knows the traffic, which needs httpx)

    return faults(records, calls, account)


def _wait(processes: Processes) -> None:
    with _ignoring_interrupts_once():
        while True:
            time.sleep(1)
            for each in processes.started:
                each.check()


@contextlib.contextmanager
def _ignoring_interrupts_once() -> Iterator[None]:
    """Ctrl-C ends the waiting; what follows is the children's orderly end."""
    try:
        yield
    except KeyboardInterrupt:
        print("\nending", flush=True)


def _say(what: str) -> None:
    print(f"\n== {what}", flush=True)
