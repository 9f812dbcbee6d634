"""Packages are entered through their door, the `__init__`, which re-exports and does nothing else."""

import ast

# Started as processes, never imported: their modules are named on command lines.
EAGER_DOORS_WITH_CODE = {"infertap": "imports the client on first use, so that relays don't load grpc"}


def names_offered(modules) -> dict[str, set[str]]:
    """Each package with the names its door binds."""
    doors = [module for module in modules if module.path.name == "__init__.py"]
    return {door.name: {name for each in door.imports() for name in each.names} for door in doors}


def test_other_packages_are_entered_through_their_door(modules) -> None:
    """From outside a package, nothing is imported from a module within it."""
    doors = names_offered(modules)
    packages = doors.keys()
    names = {module.name for module in modules}
    for module in modules:
        for each in module.imports():
            offered = doors.get(each.named, set())  # a function may have the name of its module
            imported = [each.named, *(f"{each.named}.{name}" for name in each.names if name not in offered)]
            for name in imported:
                home = name.rpartition(".")[0]
                if name not in names or name in packages or home not in packages or "." not in home:
                    continue  # not a module of the project, or one that stands at the top of its process
                inside = module.package == home or module.package.startswith(home + ".")
                starts_it = name.endswith(".__main__")
                assert inside or starts_it, f"{module.where}:{each.line} reaches into {home} for {name}"


def test_doors_do_nothing_else(modules) -> None:
    """An `__init__` holds its docstring, imports and `__all__`."""
    for module in modules:
        if module.path.name != "__init__.py" or module.name in EAGER_DOORS_WITH_CODE:
            continue
        for node in module.tree.body:
            is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            is_all = isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
            assert is_docstring or is_all or isinstance(node, ast.Import | ast.ImportFrom), (
                f"{module.where}:{node.lineno}: a door only re-exports"
            )


def test_doors_name_what_they_offer(modules) -> None:
    """A door that re-exports has an `__all__` which lists exactly what it imports."""
    for module in modules:
        if module.path.name != "__init__.py" or module.name in EAGER_DOORS_WITH_CODE:
            continue
        imported = {
            alias.asname or alias.name
            for node in module.tree.body
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
        }
        lists = [
            node
            for node in module.tree.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
        ]
        offered = set(ast.literal_eval(lists[0].value)) if lists else set()
        assert offered == imported, f"{module.where}: {sorted(offered ^ imported)}"
