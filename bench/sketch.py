"""Our sketch against the `tdigest` package, fastdigest and DataSketches' KLL: speed, stored size, rank error."""

import json
from collections.abc import Iterator

from bench.environments import NotInstallable, output_of, python_with
from bench.measuring import Line, compared
from bench.scale import Scale, tell

PACKAGES = ("datasketches", "fastdigest", "msgspec", "numpy", "tdigest")
MEASURES = {
    "add_ns": ("add a value", "ns"),
    "pack_us": ("pack", "us"),
    "unpack_us": ("unpack", "us"),
    "ask_ms": ("merge 30 stored and ask p50, p95, p99", "ms"),
    "stored_bytes": ("stored size of 1,000 values", "B"),
    "rank_error_percent": ("worst rank error, merged", "%"),
}


def run(scale: Scale) -> Iterator[Line]:
    """A line for each measure and library."""
    try:
        python = python_with(*PACKAGES)
    except NotInstallable as why:
        yield Line("sketch", absent=str(why))
        return
    tell("sketches")
    taken = json.loads(output_of(python, "bench.peers.sketches", str(scale.rounds())))
    ours = taken.pop("ours")
    for measure, (name, unit) in MEASURES.items():
        for library, rounds in taken.items():
            yield compared(f"sketch: {name}, ours / {library}", unit, ours[measure], rounds[measure])
