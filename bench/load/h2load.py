"""h2load: HTTP/2 and gRPC as a closed loop: so many connections, each with so many calls at a time.

It writes a line for each call (time since the epoch, status, duration in us), which percentiles are of.
"""

import re
import tempfile
from pathlib import Path
from typing import Final

from bench.load.measuring import Figures, LoadError, latencies, said_by, whole_seconds
from bench.model import GRPC_METHOD

PATHS: Final = 10_000
_COUNTS: Final = re.compile(r"requests: (\d+) total, .* (\d+) succeeded, (\d+) failed")
_RATE: Final = re.compile(r"finished in [^,]+, ([\d.]+) req/s")
_FRAME_HEAD: Final = b"\0" + (1024).to_bytes(4, "big")  # gRPC's: not compressed, length


def h2_closed(port: int, seconds: float, connections: int, streams: int) -> Figures:
    """POST 1 KiB over 10,000 paths."""
    paths = [f"/v2/models/iris/{number:05d}/infer" for number in range(PATHS)]
    return _closed(port, seconds, (connections, streams), paths, b"a" * 1024, ["content-type: text/plain"])


def grpc_closed(port: int, seconds: float, connections: int, streams: int) -> Figures:
    """Unary calls, messages of 1 KiB. h2load reads no trailers: a call counts where its status is 200."""
    headers = ["content-type: application/grpc", "te: trailers"]
    frame = _FRAME_HEAD + bytes(1024)
    return _closed(port, seconds, (connections, streams), [GRPC_METHOD], frame, headers)


def _closed(
    port: int, seconds: float, form: tuple[int, int], paths: list[str], data: bytes, headers: list[str]
) -> Figures:
    with tempfile.TemporaryDirectory() as directory:
        body, urls, log = (Path(directory) / name for name in ("body", "urls", "log"))
        body.write_bytes(data)
        urls.write_text("".join(f"http://127.0.0.1:{port}{path}\n" for path in paths))
        told = [word for header in headers for word in ("--header", header)]
        shape = ["-D", str(whole_seconds(seconds)), f"-c{form[0]}", f"-m{form[1]}"]
        said = said_by(
            ["h2load", *shape, "-d", str(body), "-i", str(urls), *told, "--log-file", str(log)], seconds
        )
        return read(said, log.read_text())


def read(said: str, log: str) -> Figures:
    """Figures from h2load's output and its lines; LoadError where there are none, or a call failed."""
    rate, counts = _RATE.search(said), _COUNTS.search(said)
    if rate is None or counts is None or int(counts[3]) or not int(counts[2]):
        raise LoadError(f"h2load: {said[-600:]}")
    times = [int(line.rsplit("\t", 1)[1]) for line in log.splitlines()]
    return {"requests_per_second": float(rate[1]), **latencies(times), "calls": float(counts[2])}
