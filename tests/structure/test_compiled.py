"""The hot modules run in one form: as source here, compiled by `make test-compiled`."""

import ast
import importlib
import os
from pathlib import Path

from sidecar.compiled import is_compiled

ROOT = Path(__file__).parents[2]


def hot_modules() -> list[str]:
    """The modules that setup.py compiles, by name."""
    tree = ast.parse((ROOT / "setup.py").read_text())
    (patterns,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "HOT"
    ]
    found = [path for pattern in patterns for path in ROOT.glob(pattern)]
    assert len(found) >= len(patterns)
    relative = [path.relative_to(ROOT).with_suffix("") for path in found if path.name != "__init__.py"]
    return sorted(".".join(path.parts) for path in relative)


def test_hot_modules_run_in_the_form_asked_for() -> None:
    """None of them is shadowed by a compiled one in a checkout, none is left out of a compiled build."""
    asked_for = os.environ.get("TEST_COMPILED") == "1"
    assert is_compiled() == asked_for
    files = {name: str(importlib.import_module(name).__file__) for name in hot_modules()}
    assert {name for name, file in files.items() if file.endswith(".py") == asked_for} == set()
