"""House rules a machine can hold: names, sizes, and that everything public says what it is."""

import ast

import pytest

BANNED_MODULES = {"util", "utils", "helper", "helpers", "common", "misc", "base", "core"}
BANNED_ENDINGS = ("Manager", "Helper", "Handler", "Processor", "Service")
MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 40
# Longer functions, each with its reason.
LONG_FUNCTIONS = {
    "sidecar.exchange.__init__": "the hot path: an exchange is made for every call",
    "sidecar.tap.http1.from_client": "the hot path, as its twin below",
    "sidecar.tap.http1.from_model": "the hot path: once for each read, where another call is measurable",
    "sidecar.handoff.wire.pack_exchange": "the hot path: one tuple of all fields",
    "sidecar.tap.http2_direction.follow": "the hot path: once for each frame",
    "sidecar.protocols.hpack._decode": "the hot path: once for each field",
}


def functions(module):
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_modules_are_named_for_what_they_hold(modules) -> None:
    """No drawer for odds and ends."""
    for module in modules:
        assert BANNED_MODULES.isdisjoint(module.name.split(".")), module.where


def test_classes_are_named_for_what_they_are(modules) -> None:
    """No class is named for a role that says nothing; generated gRPC names are not ours."""
    for module in modules:
        for node in ast.walk(module.tree):
            if isinstance(node, ast.ClassDef):
                assert not node.name.endswith(BANNED_ENDINGS), f"{module.where}:{node.lineno} {node.name}"


def test_modules_stay_short(modules) -> None:
    """A module over 400 lines holds more than one concept."""
    long = {module.where: module.lines for module in modules if module.lines > MAX_MODULE_LINES}
    assert long == {}


def test_functions_stay_short(modules) -> None:
    """A function over 40 lines needs a reason, given here."""
    long = {}
    for module in modules:
        for node in functions(module):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                long[f"{module.name}.{node.name}"] = length
    assert set(long) <= set(LONG_FUNCTIONS), long


def test_modules_say_what_room_they_are(modules) -> None:
    """Every module begins with a docstring."""
    silent = [module.where for module in modules if not ast.get_docstring(module.tree)]
    assert silent == []


def test_public_names_are_described(modules) -> None:
    """What a door offers has a docstring: classes, functions, and the public methods of those classes."""
    offered: dict[str, set[str]] = {}
    for module in modules:
        if module.path.name == "__init__.py":
            for each in module.imports():
                offered.setdefault(each.named, set()).update(each.names)
    silent = []
    for module in modules:
        for node in module.tree.body:
            described = isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            if described and node.name in offered.get(module.name, ()) and not ast.get_docstring(node):
                silent.append(f"{module.where}:{node.lineno} {node.name}")
    assert silent == []


@pytest.mark.parametrize("package", ["infertap", "sidecar", "storage"])
def test_packages_are_typed(package: str) -> None:
    """Type checkers of users read our annotations."""
    from pathlib import Path

    assert (Path(__file__).parents[2] / package / "py.typed").exists()
