"""Setup: what pyproject.toml can't say. With INFERTAP_COMPILE=1 a wheel has its hot modules compiled (mypyc).

The Python source stays the truth and is in the wheel too: Python prefers the compiled module beside it. An
editable installation is never compiled, so a checkout runs what it shows. See docs/decisions/0012.
"""

import os
import sys
from pathlib import Path

from setuptools import Extension, setup

# Where the relay spends time of its own for each call.
HOT = (
    "sidecar/exchange.py",
    "sidecar/protocols/*.py",
    "sidecar/tap/*.py",
    "sidecar/handoff/outbox.py",
    "sidecar/handoff/wire.py",
    "sidecar/relay/connection.py",
    "sidecar/relay/side.py",
)
# One version, as what it makes is what is tested.
COMPILER = ("mypy[mypyc]==2.4.1", "msgpack-types>=0.8")

# mypyc 2.4.1 raises SystemError where a slice of bytes ends before it begins, which is empty in Python.
SLICES = """\
#include <Python.h>
static inline PyObject *bytes_of(const char *start, Py_ssize_t size) {
    return PyBytes_FromStringAndSize(start, size < 0 ? 0 : size);
}
#define PyBytes_FromStringAndSize bytes_of
"""


def hot_modules() -> list[str]:
    """Their paths. Doors (`__init__.py`) only re-export: compiling them gains nothing."""
    paths = []
    for pattern in HOT:
        found = [str(path) for path in sorted(Path().glob(pattern)) if path.name != "__init__.py"]
        if not found:
            raise FileNotFoundError(pattern)
        paths += found
    return paths


def compiled_modules() -> list[Extension]:
    """The extension modules of a wheel, made into C here and now."""
    from mypyc.build import mypycify  # noqa: PLC0415  (installed where `setup_requires` asked for it)

    # What they import is not judged here, nor need its own imports be installed: `make lint` does that.
    options = ["--follow-imports=silent", "--ignore-missing-imports"]
    made = mypycify([*options, *hot_modules()], target_dir="build/mypyc", group_name="infertap")
    slices = Path("build/mypyc/slices.h").resolve()
    slices.write_text(SLICES)
    for extension in made:
        extension.extra_compile_args = [*extension.extra_compile_args, "-include", str(slices)]
    return made


is_asked_for = os.environ.get("INFERTAP_COMPILE") == "1"
is_wheel = "bdist_wheel" in sys.argv
setup(
    setup_requires=COMPILER if is_asked_for else (),
    ext_modules=compiled_modules() if is_asked_for and is_wheel else [],
)
