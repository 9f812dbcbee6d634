"""The arrows between the rooms: who may import whom, and who may touch the world."""

import pytest

# Package: what it may import of the project, as packages or modules. Its own modules always.
ARROWS = {
    "infertap.v1": set(),
    "infertap.oip": set(),
    "infertap.serving": set(),
    "infertap.settings": set(),
    "infertap.setting_names": set(),
    "infertap.setting_files": set(),
    "infertap.core_files": set(),
    "infertap.faults": set(),
    "infertap.query": {"infertap.v1"},
    "infertap.identity": {"infertap.setting_files", "infertap.v1"},
    "infertap.feedback": {"infertap.v1"},
    "infertap.verification": set(),
    "infertap.audit": {"infertap.connection", "infertap.v1", "infertap.verification"},
    "infertap.connection": {"infertap.setting_files", "infertap.settings"},
    "infertap.arrow": {"infertap.v1"},
    "infertap.export": {"infertap.arrow", "infertap.client", "infertap.v1"},
    "infertap.client": {
        "infertap.arrow",
        "infertap.connection",
        "infertap.feedback",
        "infertap.v1",
        "infertap.query",
        "infertap.settings",
        "infertap.setting_names",
    },
    "storage.event_log": set(),
    "storage.memory": set(),
    "storage.listening": set(),
    "storage.redaction": {
        "infertap.v1",
    },
    "storage.identity": {
        "infertap.identity",
        "storage.event_log",
    },
    # It knows no engine: archives call it.
    "storage.audit": {
        "infertap.identity",
        "infertap.query",
        "infertap.setting_files",
        "infertap.v1",
        "infertap.verification",
    },
    "storage.archive": {
        "infertap.query",
        "infertap.v1",
        "infertap.verification",
        "storage.audit",
    },
    # They know the archive, and nothing of who fills it.
    "storage.sinks": {
        "infertap.export",
        "infertap.names",
        "infertap.query",
        "infertap.setting_files",
        "infertap.settings",
        "infertap.v1",
        "storage.archive",
        "storage.audit",
    },
    "storage.setting_values": {
        "infertap.settings",
        "storage.archive",
    },
    "storage.config": {
        "infertap.setting_names",
        "infertap.settings",
        "storage.archive",
        "storage.setting_values",
    },
    "storage.migrate": {
        "storage.archive",
        "storage.config",
    },
    "storage.restore": {
        "infertap.query",
        "storage.archive",
        "storage.config",
    },
    "storage.live": {
        "infertap.v1",
        "storage.archive",
    },
    "storage.numbers": {
        "infertap.v1",
        "storage.live",
        "storage.sinks",
    },
    # Who fills the archive and who reads it know nothing of each other.
    "storage.ingest": {
        "infertap.identity",
        "infertap.query",
        "infertap.v1",
        "infertap.verification",
        "storage.archive",
        "storage.audit",
        "storage.event_log",
        "storage.identity",
        "storage.live",
        "storage.numbers",
    },
    "storage.query": {
        "infertap.query",
        "infertap.v1",
        "storage.archive",
        "storage.identity",
        "storage.live",
        "storage.numbers",
    },
    "storage.feedback": {
        "infertap.query",
        "infertap.v1",
        "storage.archive",
        "storage.identity",
        "storage.numbers",
        "storage.query",
        "storage.redaction",
    },
    "storage.upkeep": {
        "infertap",
        "infertap.query",
        "infertap.v1",
        "infertap.verification",
        "storage.archive",
        "storage.audit",
        "storage.config",
        "storage.event_log",
        "storage.identity",
        "storage.ingest",
        "storage.numbers",
        "storage.redaction",
        "storage.sinks",
    },
    "storage.web": {
        "infertap.names",
        "infertap.query",
        "infertap.rendering",
        "infertap.settings",
        "infertap.v1",
        "storage.archive",
        "storage.feedback",
        "storage.identity",
        "storage.live",
        "storage.numbers",
        "storage.query",
    },
    "sidecar.protocols": set(),
    "sidecar.exchange": set(),
    "sidecar.counters": set(),
    "sidecar.collecting": set(),
    "sidecar.compiled": {"sidecar.exchange"},
    "sidecar.event_log": set(),
    "sidecar.account": {"sidecar.counters"},
    "sidecar.traceparent": set(),
    "sidecar.sample_hash": {"sidecar.traceparent"},
    "sidecar.setting_values": {"infertap.settings"},
    "sidecar.access_settings": {"infertap.settings"},
    "sidecar.config": {
        "infertap.settings",
        "infertap.setting_names",
        "sidecar.access_settings",
        "sidecar.setting_values",
    },
    "sidecar.hash_key": {"infertap.setting_files"},
    "sidecar.tls": {"infertap.setting_files", "sidecar.config", "sidecar.event_log"},
    "sidecar.tap": {
        "sidecar.protocols",
        "sidecar.exchange",
        "sidecar.counters",
        "sidecar.config",
        "sidecar.sample_hash",
    },
    "sidecar.handoff": {"sidecar.exchange", "sidecar.counters"},
    "sidecar.in_flight": {"infertap.v1", "sidecar.handoff"},
    "sidecar.relay": {
        "sidecar.collecting",
        "infertap.faults",
        "infertap.core_files",
        "infertap.settings",
        "sidecar.account",
        "sidecar.compiled",
        "sidecar.config",
        "sidecar.counters",
        "sidecar.event_log",
        "sidecar.exchange",
        "sidecar.handoff",
        "sidecar.tap",
        "sidecar.tls",
    },
    "sidecar.parent": {
        "infertap.core_files",
        "infertap.settings",
        "sidecar.account",
        "sidecar.config",
        "sidecar.counters",
        "sidecar.event_log",
        "sidecar.hash_key",
        "sidecar.tls",
    },
    "sidecar.api": {
        "infertap.identity",
        "infertap.setting_files",
        "sidecar.event_log",
        "infertap.query",
        "infertap.settings",
        "infertap.v1",
        "sidecar.in_flight",
        "sidecar.spool",
    },
    "sidecar.spool": {"sidecar.event_log"},
    "sidecar.forwarder": {
        "infertap.connection",
        "infertap.v1",
        "infertap.settings",
        "sidecar.event_log",
        "sidecar.in_flight",
        "sidecar.spool",
    },
    "sidecar.recorder": {
        "sidecar.collecting",
        "infertap.faults",
        "infertap.core_files",
        "infertap",
        "infertap.connection",
        "infertap.identity",
        "infertap.oip",
        "infertap.query",
        "infertap.serving",
        "infertap.setting_files",
        "infertap.settings",
        "infertap.v1",
        "sidecar.account",
        "sidecar.api",
        "sidecar.config",
        "sidecar.counters",
        "sidecar.event_log",
        "sidecar.exchange",
        "sidecar.forwarder",
        "sidecar.handoff",
        "sidecar.hash_key",
        "sidecar.in_flight",
        "sidecar.protocols",
        "sidecar.sample_hash",
        "sidecar.spool",
        "sidecar.traceparent",
    },
}
# Rooms whose clock, randomness and limits are arguments.
PURE = ("sidecar.protocols", "sidecar.tap", "sidecar.exchange", "sidecar.account")
INPUT_AND_OUTPUT = {
    "asyncio",
    "logging",
    "multiprocessing",
    "os",
    "pathlib",
    "random",
    "secrets",
    "select",
    "selectors",
    "signal",
    "socket",
    "ssl",
    "subprocess",
    "sys",
    "tempfile",
    "threading",
    "time",
    "uuid",
    "uvloop",
}
# Processes of their own: what starts them, and so may name them.
STARTERS = {"infertap.cli", "infertap.demo"}


def is_in(name: str, room: str) -> bool:
    return name == room or name.startswith(room + ".")


def room_of(name: str) -> str | None:
    """The room in ARROWS that a module is in."""
    return next((room for room in ARROWS if is_in(name, room)), None)


def targets(module) -> list[tuple[int, str]]:
    """The modules of the project that one imports, with the line."""
    found = []
    for each in module.imports():
        if each.named.split(".")[0] not in ("infertap", "sidecar", "storage"):
            continue
        deeper = [f"{each.named}.{name}" for name in each.names]
        rooms = [name for name in deeper if any(is_in(name, room) for room in ARROWS)]
        found += [(each.line, name) for name in rooms or [each.named]]
    return found


def test_sidecar_and_storage_never_import_each_other(modules) -> None:
    """Each runs without the other being installed; what both need is in infertap."""
    for module in modules:
        for line, target in targets(module):
            crossing = {module.name.split(".")[0], target.split(".")[0]} == {"sidecar", "storage"}
            assert not crossing, f"{module.where}:{line} imports {target}"


def test_infertap_stands_alone(modules) -> None:
    """What users import needs neither process; only what starts a process names it."""
    for module in modules:
        if not is_in(module.name, "infertap") or any(is_in(module.name, starter) for starter in STARTERS):
            continue
        for line, target in targets(module):
            assert is_in(target, "infertap"), f"{module.where}:{line} imports {target}"


def test_arrows_point_one_way(modules) -> None:
    """A room imports only the rooms it is allowed to."""
    for module in modules:
        room = room_of(module.name)
        if room is None:
            continue
        for line, target in targets(module):
            allowed = is_in(target, room) or any(
                is_in(target, each) if each != "infertap" else target == each for each in ARROWS[room]
            )
            assert allowed, f"{module.where}:{line}: {room} may not import {target}"


@pytest.mark.parametrize("top", ["sidecar", "storage"])
def test_every_package_has_its_arrows(modules, top: str) -> None:
    """A new package of the sidecar or of storage must say here what it may import."""
    packages = {module.package for module in modules if is_in(module.package, top)} - {top}
    assert {package for package in packages if room_of(package) is None} == set()


def test_storage_at_its_root_is_only_what_starts_it_or_serves_all_rooms(modules) -> None:
    """A module stands in a room, unless it is a process, a command, or what several rooms need."""
    starts = {"storage", "storage.__main__", "storage.process"}
    at_root = {module.name for module in modules if module.package == "storage"} - starts
    assert {name for name in at_root if name not in ARROWS} == set()


def test_arrows_make_no_circle() -> None:
    """Whatever the arrows allow, no room comes back to itself by them."""
    from graphlib import TopologicalSorter

    graph = {room: {each for each in targets if each in ARROWS} for room, targets in ARROWS.items()}
    assert list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("room", PURE)
def test_pure_rooms_touch_nothing(modules, room: str) -> None:
    """Bytes in, events out: no socket, clock, log, randomness or thread."""
    inside = [module for module in modules if is_in(module.name, room)]
    assert inside
    for module in inside:
        for each in module.imports():
            assert each.named.split(".")[0] not in INPUT_AND_OUTPUT, (
                f"{module.where}:{each.line}: {each.named}"
            )


def test_processes_start_from_the_standard_library(modules) -> None:
    """The parent, and what parent and relays read before anything else, import no installed package."""
    import sys

    for module in modules:
        early = (
            "sidecar.parent",
            "sidecar.config",
            "sidecar.access_settings",
            "sidecar.counters",
            "sidecar.account",
            "sidecar.tls",
            "infertap.settings",
        )
        if not any(is_in(module.name, room) for room in early):
            continue
        for each in module.imports():
            top = each.named.split(".")[0]
            assert top in sys.stdlib_module_names or top in ("infertap", "sidecar"), f"{module.where}: {top}"


def test_the_example_knows_nothing_of_infertap() -> None:
    """The model server imports of the project only the published protocol's stubs."""
    import ast
    from pathlib import Path

    for path in (Path(__file__).parents[2] / "examples").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            named = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            named += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in named:
                assert name.split(".")[0] not in ("sidecar", "storage"), path
                assert name == "infertap.oip" or name.split(".")[0] != "infertap", path
