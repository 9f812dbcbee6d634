"""wrk: HTTP/1.1 as a closed loop: so many connections, each with one call at a time."""

import re
import tempfile
from pathlib import Path
from typing import Final

from bench.load.measuring import Figures, LoadError, said_by, whole_seconds

_SCRIPT: Final = """\
wrk.method = "POST"; wrk.body = string.rep("a", %(body_bytes)d); wrk.headers["Content-Type"] = "text/plain"
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("P50 %%f P90 %%f P99 %%f US %%f CALLS %%d ERR %%d\\n", latency:percentile(50),
    latency:percentile(90), latency:percentile(99), summary.duration, summary.requests,
    e.connect + e.read + e.write + e.timeout + e.status))
end
"""
_SAID: Final = re.compile(r"P50 ([\d.]+) P90 ([\d.]+) P99 ([\d.]+) US ([\d.]+) CALLS (\d+) ERR (\d+)")


def h1_closed(port: int, seconds: float, connections: int, body_bytes: int = 1024) -> Figures:
    """POST `body_bytes`, answered by a small JSON."""
    url = f"http://127.0.0.1:{port}/v2/models/iris/infer"
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory) / "post.lua"
        script.write_text(_SCRIPT % {"body_bytes": body_bytes})
        took = f"-d{whole_seconds(seconds)}s"
        return read(said_by(["wrk", "-t1", f"-c{connections}", took, "-s", str(script), url], seconds))


def read(said: str) -> Figures:
    """Figures from wrk's output; LoadError where there are none, or a call failed."""
    match = _SAID.search(said)
    if match is None or int(match[6]) or not int(match[5]):
        raise LoadError(f"wrk: {said[-300:]}")
    p50, p90, p99, took_us, calls = (float(match[group]) for group in range(1, 6))
    return {
        "requests_per_second": calls / took_us * 1e6,
        "p50_us": p50,
        "p90_us": p90,
        "p99_us": p99,
        "calls": calls,
    }
