"""Our sketch and that of a library at the same work; prints JSON: of both, by measure, rounds.

Arguments: the library (a key of LIBRARIES), rounds, parts. `add_ns` per value; `pack_us`, `unpack_us`, `stored_bytes`
per sketch of SOME values; `ask_ms`: from that many stored sketches, merged, to p50, p95, p99 of all;
`rank_error_percent`: the worst over QUANTILES of what those merged sketches say.
"""

import importlib
import json
import random
import sys
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import msgspec
import numpy as np

from aggregator.rollups.sketch import compress, quantiles

SOME, WARM_UP_PARTS = 1_000, 2
ASKED = (0.5, 0.95, 0.99)
QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.95, 0.99, 0.999)

Values = list[float]


class Ours:
    """Our sketch as the aggregator stores it and the api asks it; a sketch is the bytes that are stored."""

    def make(self, values: Values) -> Any:
        return compress(b"", np.array(values))

    def pack(self, sketch: Any) -> bytes:
        return msgspec.msgpack.encode(sketch)

    def unpack(self, stored: bytes) -> Any:
        return msgspec.msgpack.decode(stored, type=bytes)

    def ask(self, stored: Sequence[bytes], wanted: Sequence[float], ends: tuple[float, float]) -> Values:
        return quantiles([self.unpack(one) for one in stored], np.empty(0), wanted, *ends)


class Fastdigest:
    """A t-digest in Rust."""

    def __init__(self) -> None:
        self._package = importlib.import_module("fastdigest")

    def make(self, values: Values) -> Any:
        digest = self._package.TDigest(max_centroids=100)
        digest.batch_update(values)
        return digest

    def pack(self, digest: Any) -> bytes:
        return bytes(digest.to_bytes())

    def unpack(self, stored: bytes) -> Any:
        return self._package.TDigest.from_bytes(stored)

    def ask(self, stored: Sequence[bytes], wanted: Sequence[float], ends: tuple[float, float]) -> Values:
        return list(self._package.merge_all([self.unpack(one) for one in stored]).quantile_vec(wanted))


class Kll:
    """Apache DataSketches' KLL sketch, in C++."""

    def __init__(self) -> None:
        self._sketch = importlib.import_module("datasketches").kll_doubles_sketch

    def make(self, values: Values) -> Any:
        sketch = self._sketch(400)
        sketch.update(np.array(values))
        return sketch

    def pack(self, sketch: Any) -> bytes:
        return bytes(sketch.serialize())

    def unpack(self, stored: bytes) -> Any:
        return self._sketch.deserialize(stored)

    def ask(self, stored: Sequence[bytes], wanted: Sequence[float], ends: tuple[float, float]) -> Values:
        merged = self._sketch(400)
        for one in stored:
            merged.merge(self.unpack(one))
        return list(merged.get_quantiles(list(wanted)))


class Tdigest:
    """The `tdigest` package, in Python."""

    def __init__(self) -> None:
        self._digest = importlib.import_module("tdigest").TDigest

    def make(self, values: Values) -> Any:
        digest = self._digest()
        digest.batch_update(values)
        return digest

    def pack(self, digest: Any) -> bytes:
        return json.dumps(digest.to_dict()).encode()

    def unpack(self, stored: bytes) -> Any:
        digest = self._digest()
        digest.update_from_dict(json.loads(stored))
        return digest

    def ask(self, stored: Sequence[bytes], wanted: Sequence[float], ends: tuple[float, float]) -> Values:
        merged = self.unpack(stored[0])
        for one in stored[1:]:
            merged = merged + self.unpack(one)
        return [merged.percentile(quantile * 100) for quantile in wanted]


LIBRARIES: dict[str, Callable[[], Any]] = {"tdigest": Tdigest, "fastdigest": Fastdigest, "KLL": Kll}


def measure(contender: Any, parts: list[Values]) -> dict[str, float]:
    """Measures one round."""
    ordered = sorted(chain.from_iterable(parts))
    ends = (ordered[0], ordered[-1])
    random.seed(0)  # tdigest shuffles
    made_s, sketches = _timed(lambda: [contender.make(values) for values in parts])
    packed_s, stored = _timed(lambda: [contender.pack(sketch) for sketch in sketches])
    unpacked_s, _ = _timed(lambda: [contender.unpack(one) for one in stored])
    asked_s, _ = _timed(lambda: contender.ask(stored, ASKED, ends))
    found = contender.ask(stored, QUANTILES, ends)
    return {
        "add_ns": made_s / len(ordered) * 1e9,
        "pack_us": packed_s / len(parts) * 1e6,
        "unpack_us": unpacked_s / len(parts) * 1e6,
        "ask_ms": asked_s * 1e3,
        "stored_bytes": sum(map(len, stored)) / len(stored),
        "rank_error_percent": 100 * max(map(lambda at, value: _error(ordered, at, value), QUANTILES, found)),
    }


def _error(ordered: Values, wanted: float, value: float) -> float:
    """Returns how far the ranks of `value` are from the wanted one, as a part of all."""
    lowest, highest = bisect_left(ordered, value), bisect_right(ordered, value)
    rank = wanted * (len(ordered) - 1)
    return max(0.0, lowest - 1 - rank, rank - highest) / len(ordered)


def _timed(action: Callable[[], Any]) -> tuple[float, Any]:
    begun_s = time.perf_counter()
    result = action()
    return time.perf_counter() - begun_s, result


def main(library: str, rounds: int, parts: int) -> None:
    """Each round has values of its own; what is called for the first time is not measured."""
    contenders = {"ours": Ours(), library: LIBRARIES[library]()}
    taken: dict[str, dict[str, list[float]]] = {name: {} for name in contenders}
    for contender in contenders.values():
        measure(contender, _values(-1, WARM_UP_PARTS))
    for number in range(rounds):
        for name, contender in contenders.items():
            for measure_name, value in measure(contender, _values(number, parts)).items():
                taken[name].setdefault(measure_name, []).append(value)
    print(json.dumps(taken))


def _values(seed: int, parts: int) -> list[Values]:
    """SOME values for each part, skewed as latencies are."""
    rng = random.Random(seed)
    return [[rng.lognormvariate(7, 1) for _ in range(SOME)] for _ in range(parts)]


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
