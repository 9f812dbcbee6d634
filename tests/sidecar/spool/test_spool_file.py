"""A file that can't be trusted, a disk that fails, an owner that is killed: nothing acknowledged is lost."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sidecar.spool import Spool, SpoolFailed, SpoolLocked

if TYPE_CHECKING:
    from tests.sidecar.spool.conftest import TriedSpool

OpenSpool = Callable[..., "TriedSpool"]
QUOTA = 16 << 20
WAIT_SECONDS = 30.0


def run_script(script: str, *arguments: str) -> Any:
    """What a script prints as JSON, run in a process of its own."""
    command = [sys.executable, "-c", script, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=WAIT_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_one_process_at_a_time(open_spool: OpenSpool, directory: Path) -> None:
    """A second owner is refused."""
    open_spool()
    with pytest.raises(SpoolLocked):
        Spool.open(directory, QUOTA, ring=False)


@pytest.mark.parametrize("junk", [b"", b"no lmdb file", b"\0" * 8192])
def test_file_of_another_kind(
    open_spool: OpenSpool, directory: Path, junk: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    """What is no spool is set aside, said, and a new one begun; an empty file is simply begun."""
    directory.mkdir()
    (directory / "data.mdb").write_bytes(junk)
    spool = open_spool()
    assert spool.add([1]) == range(1, 2)
    aside = [file.read_bytes() for file in directory.glob("aside-*.mdb")]
    assert aside == ([junk] if junk else [])
    assert ("spool_set_aside" in capfd.readouterr().err) == bool(junk)


def test_cut_file(open_spool: OpenSpool, directory: Path) -> None:
    """A file that lost its end is set aside; the new spool has a new id, so no sequence means two things."""
    spool = open_spool()
    for number in range(1, 20):
        spool.add([number], 100_000)
    spool_id = spool.spool_id
    spool.close()
    with (directory / "data.mdb").open("r+b") as file:
        file.truncate(500_000)
    spool = open_spool()
    assert spool.spool_id != spool_id
    assert spool.add([1]) == range(1, 2)
    assert len(list(directory.glob("aside-*.mdb"))) == 1
    spool.check()


_FAILING = """
import json, resource, signal, sys
from pathlib import Path
from sidecar.spool import Spool, SpoolError

def put(number):
    return spool.append([(number.to_bytes(16, "big"), b"%d" % number * 20_000)], {b"n": b"%d" % number})

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
directory = Path(sys.argv[1])
spool = Spool.open(directory, 64 << 20, ring=False)
durable = {number: put(number)[0] for number in range(1, 11)}
room = {"little": (directory / "data.mdb").stat().st_size + 300_000, "meta": 4096, "none": 0}[sys.argv[2]]
resource.setrlimit(resource.RLIMIT_FSIZE, (room, resource.RLIM_INFINITY))
refused = []
for number in range(11, 61):
    try:
        durable[number] = put(number)[0]
    except SpoolError:
        refused.append(number)
readable = len(spool.oldest_first(0, 1000)) if sys.argv[2] == "little" else None
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
durable.update({number: put(number)[0] for number in range(61, 71)})
spool.close()
print(json.dumps({"durable": durable, "refused": refused, "readable": readable}))
"""


@pytest.mark.parametrize("room", ["little", "meta", "none"])
def test_disk_that_is_full(open_spool: OpenSpool, directory: Path, room: str) -> None:
    """While writes fail appends are refused, each of them whole; when there is room again, it goes on."""
    told = run_script(_FAILING, str(directory), room)
    durable = {int(number): sequence for number, sequence in told["durable"].items()}
    assert told["refused"]
    assert set(durable) | set(told["refused"]) == set(range(1, 71))
    spool = open_spool(64 << 20)
    for number, sequence in durable.items():
        entry = spool.get(sequence)
        assert entry is not None
        assert entry.record == b"%d" % number * 20_000
    assert spool.account().appended == len(durable)
    assert spool.notes() == {b"n": b"70"}
    if told["readable"] is not None:
        assert told["readable"] == len(durable) - 10
    spool.check()


_APPENDING = """
import os, sys
from pathlib import Path
from sidecar.spool import Spool

spool = Spool.open(Path(sys.argv[1]), 16 << 20, ring=False)
number = spool.account().appended
while True:
    batch = range(number + 1, number + 6)
    records = [(each.to_bytes(16, "big"), b"%d " % each * 2000) for each in batch]
    sequences = spool.append(records, {b"last": b"%d" % batch[-1]})
    number = batch[-1]
    os.write(1, b"%d %d\\n" % (number, sequences[-1]))
    if number % 3 == 0:
        spool.ack([(max(1, number - 20), number - 10)])
"""


def test_killed_again_and_again(open_spool: OpenSpool, directory: Path) -> None:
    """Killed at any moment, ten times over: all that it said was durable is there, and the books balance."""
    said = 0
    for turn in range(10):
        command = [sys.executable, "-c", _APPENDING, str(directory)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(5 + 7 * turn):
                said = int(process.stdout.readline().split()[0])
            process.send_signal(signal.SIGKILL)
            rest = process.stdout.read().split(b"\n")[:-1]
            said = int(rest[-1].split()[0]) if rest else said
        spool = open_spool()
        account = spool.account()
        assert said <= account.appended <= said + 5
        assert spool.notes() == {b"last": b"%d" % account.appended}
        latest = spool.find(said.to_bytes(16, "big"))
        assert latest is not None
        assert latest.record == b"%d " % said * 2000
        spool.check()
        spool.close()


def test_many_unclean_ends_lose_nothing(open_spool: OpenSpool, directory: Path) -> None:
    """After several unclean ends the file is checked before it is used, and kept when it is sound."""
    spool = open_spool()
    spool.add(range(1, 11))
    spool_id = spool.spool_id
    spool.close()
    (directory / "unclean-ends").write_text("7\n")
    spool = open_spool()
    assert spool.spool_id == spool_id
    assert len(spool.live()) == 10


_READING = """
import json, resource, signal, sys
from pathlib import Path
from sidecar.spool import Spool, SpoolError

def refused(act):
    try:
        act()
    except SpoolError as error:
        return str(error)

def append():
    spool.append([(bytes(16), b"two")])

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
directory = Path(sys.argv[1])
spool = Spool.open(directory, 16 << 20, ring=False)
spool.append([(bytes(16), b"one")])
data = directory / "data.mdb"
data.rename(directory / "elsewhere")
data.mkdir()
resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
told = [refused(append)]
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
told += [refused(append), refused(spool.account)]
data.rmdir()
(directory / "elsewhere").rename(data)
read = [each.record.decode() for each in spool.lease(0, 10, 1000)]
append()
spool.close()
told.append(refused(spool.account))
print(json.dumps({"told": told, "read": read}))
"""


def test_reading_recovers_without_a_writer(directory: Path) -> None:
    """After a failure that closed the file, whoever reads opens it, so that old records are sent."""
    told = run_script(_READING, str(directory))
    assert [bool(each) for each in told["told"]] == [True, True, True, True]
    assert "Is a directory" in told["told"][1]
    assert "Is a directory" in told["told"][2]
    assert told["told"][3] == "the spool is closed"
    assert told["read"] == ["one"]


def test_damaged_file_that_cannot_be_set_aside(directory: Path, open_spool: OpenSpool) -> None:
    """Where a damaged file can't be renamed appends fail; once it can, a new file is begun."""
    spool = open_spool()
    for number in (1, 2, 3):
        spool.add([number], 9_000)
    spool_id = spool.spool_id
    with (directory / "data.mdb").open("r+b") as file:
        for page in (9, 10):  # of the rows
            file.seek(page * 4096)
            file.write(b"\xff" * 4096)
    with pytest.raises(SpoolFailed, match="MDB_CORRUPTED"):
        spool.pending()
    (directory / "data.mdb").rename(directory / "elsewhere")
    for act in (lambda: spool.add([4]), spool.account):
        with pytest.raises(SpoolFailed, match="No such file"):
            act()
    (directory / "elsewhere").rename(directory / "data.mdb")
    assert spool.account().corrupt == 3, "whoever reads begins a new file"
    spool.add([4])
    assert spool.spool_id != spool_id
    assert len(list(directory.glob("aside-*.mdb"))) == 1
    account = spool.account()
    assert (account.appended, account.pending, account.corrupt) == (4, 1, 3)
