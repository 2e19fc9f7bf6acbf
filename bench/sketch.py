"""Our sketch against the `tdigest` package, fastdigest and DataSketches' KLL: speed, stored size, rank error."""

import json
from collections.abc import Iterator

from bench.environments import NotInstallable, output_of, python_with
from bench.measuring import Line, compared
from bench.scale import Scale, tell

NEEDED = ("msgspec", "numpy")
# `tdigest` needs a compiler to install; where there is none the others are still measured.
LIBRARIES = {"tdigest": "tdigest", "fastdigest": "fastdigest", "datasketches": "KLL"}
MEASURES = {
    "add_ns": ("add a value", "ns"),
    "pack_us": ("pack", "us"),
    "unpack_us": ("unpack", "us"),
    "ask_ms": ("merge {parts} stored and ask p50, p95, p99", "ms"),
    "stored_bytes": ("stored size of 1,000 values", "B"),
    "rank_error_percent": ("worst rank error, merged", "%"),
}


def run(scale: Scale) -> Iterator[Line]:
    """A line for each measure and library."""
    for package, library in LIBRARIES.items():
        try:
            python = python_with(package, *NEEDED)
        except NotInstallable as why:
            yield Line(f"sketch: ours / {library}", absent=str(why))
            continue
        tell(f"sketches, ours and {library}")
        parts = scale.amount(30, 10, least=2)
        taken = json.loads(output_of(python, "bench.peers.sketches", library, str(scale.rounds()), str(parts)))
        for measure, (name, unit) in MEASURES.items():
            title = f"sketch: {name.format(parts=parts)}, ours / {library}"
            yield compared(title, unit, taken["ours"][measure], taken[library][measure])
