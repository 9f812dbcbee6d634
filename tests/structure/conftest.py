"""What the structure tests look at: every module of the project, parsed once."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("infertap", "sidecar", "storage")


@dataclass(frozen=True, slots=True)
class Import:
    """One module that another imports; `named` is the module itself, or the package a name is taken from."""

    line: int
    named: str
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Module:
    """One hand-written module of the project."""

    name: str
    path: Path
    tree: ast.Module
    lines: int

    @property
    def package(self) -> str:
        """The package that holds it; of a package's `__init__`, the package itself."""
        return self.name if self.path.name == "__init__.py" else self.name.rpartition(".")[0]

    @property
    def where(self) -> str:
        return str(self.path.relative_to(ROOT))

    def imports(self) -> Iterator[Import]:
        """Every import, wherever in the module it stands, but for those that only type checkers read."""
        unread = {id(node) for block in _type_checking_blocks(self.tree) for node in ast.walk(block)}
        for node in ast.walk(self.tree):
            if id(node) in unread:
                continue
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(node.lineno, alias.name, ())
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.where}:{node.lineno}: imports are absolute"
                yield Import(node.lineno, node.module or "", tuple(alias.name for alias in node.names))


def _type_checking_blocks(tree: ast.Module) -> Iterator[ast.AST]:
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            yield from node.body


@cache
def all_modules() -> tuple[Module, ...]:
    """Every module of the packages, but for generated ones."""
    paths = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
    return tuple(_parse(path) for path in paths if "_pb2" not in path.name)


def _parse(path: Path) -> Module:
    parts = path.relative_to(ROOT).with_suffix("").parts
    text = path.read_text(encoding="utf-8")
    name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
    return Module(name, path, ast.parse(text), text.count("\n"))


@pytest.fixture
def modules() -> tuple[Module, ...]:
    return all_modules()
