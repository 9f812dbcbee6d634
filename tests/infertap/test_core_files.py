"""No core files, neither as files nor through a pipe."""

import json
import os
import resource
import subprocess
import sys

import pytest

_SCRIPT = """
import json, resource, sys
from infertap import core_files
resource.setrlimit(resource.RLIMIT_CORE, tuple(json.loads(sys.argv[1])))
core_files.forbid()
core_files.forbid()
import ctypes
dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0)
print(json.dumps([*resource.getrlimit(resource.RLIMIT_CORE), dumpable]), flush=True)
import os
os.abort()
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [((-1, -1), [1, 1, 1]), ((0, 4096), [1, 1, 1]), ((0, 0), [0, 0, 0]), ((1, 1), [1, 1, 1])],
)
def test_no_core(tmp_path: object, before: tuple[int, int], after: list[int]) -> None:
    """Whatever the limit was, it is the one that dumps nothing; where it stays 0 nobody may dump it."""
    _, most = resource.getrlimit(resource.RLIMIT_CORE)
    if most != resource.RLIM_INFINITY and not 0 <= before[1] <= most:
        pytest.skip("the limit of core files can't be raised that far here")
    command = [sys.executable, "-c", _SCRIPT, json.dumps(before)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, cwd=str(tmp_path), env=os.environ | {"PYTHONPATH": os.getcwd()}
    ) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline()) == after
        _, status = os.waitpid(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    assert os.WIFSIGNALED(status)
    assert not os.WCOREDUMP(status)
