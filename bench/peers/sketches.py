"""Four sketches at the same work, in an environment that has them all; prints JSON: by library, by measure, rounds.

`add_ns` per value; `pack_us`, `unpack_us`, `stored_bytes` per sketch of SOME values; `ask_ms`: from PARTS stored
sketches to p50, p95, p99 of all; `rank_error_percent`: the worst over QUANTILES of what those merged sketches say.
"""

import json
import random
import sys
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import datasketches  # type: ignore[import-not-found]
import fastdigest
import msgspec
import numpy as np
import tdigest  # type: ignore[import-not-found,import-untyped,unused-ignore]

from aggregator.sketch import compress, quantiles

SOME, PARTS = 1_000, 30
ASKED = (0.5, 0.95, 0.99)
QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.95, 0.99, 0.999)

Values = list[float]


class Ours:
    """As the aggregator stores it and the api asks it; a sketch is the bytes that are stored."""

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

    def make(self, values: Values) -> Any:
        digest = fastdigest.TDigest(max_centroids=100)
        digest.batch_update(values)
        return digest

    def pack(self, digest: Any) -> bytes:
        return bytes(digest.to_bytes())

    def unpack(self, stored: bytes) -> Any:
        return fastdigest.TDigest.from_bytes(stored)

    def ask(self, stored: Sequence[bytes], wanted: Sequence[float], ends: tuple[float, float]) -> Values:
        return list(fastdigest.merge_all([self.unpack(one) for one in stored]).quantile_vec(wanted))


class Kll:
    """Apache DataSketches' KLL sketch, in C++."""

    def make(self, values: Values) -> Any:
        sketch = datasketches.kll_doubles_sketch(400)
        sketch.update(np.array(values))
        return sketch

    def pack(self, sketch: Any) -> bytes:
        return bytes(sketch.serialize())

    def unpack(self, stored: bytes) -> Any:
        return datasketches.kll_doubles_sketch.deserialize(stored)

    def ask(self, stored: Sequence[bytes], wanted: Sequence[float], ends: tuple[float, float]) -> Values:
        merged = datasketches.kll_doubles_sketch(400)
        for one in stored:
            merged.merge(self.unpack(one))
        return list(merged.get_quantiles(list(wanted)))


class Tdigest:
    """The `tdigest` package, in Python."""

    def make(self, values: Values) -> Any:
        digest = tdigest.TDigest()
        digest.batch_update(values)
        return digest

    def pack(self, digest: Any) -> bytes:
        return json.dumps(digest.to_dict()).encode()

    def unpack(self, stored: bytes) -> Any:
        digest = tdigest.TDigest()
        digest.update_from_dict(json.loads(stored))
        return digest

    def ask(self, stored: Sequence[bytes], wanted: Sequence[float], ends: tuple[float, float]) -> Values:
        merged = self.unpack(stored[0])
        for one in stored[1:]:
            merged = merged + self.unpack(one)
        return [merged.percentile(quantile * 100) for quantile in wanted]


CONTENDERS: dict[str, Any] = {"ours": Ours(), "tdigest": Tdigest(), "fastdigest": Fastdigest(), "KLL": Kll()}


def measure(contender: Any, parts: list[Values]) -> dict[str, float]:
    """One round."""
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
    """How far the ranks of `value` are from the wanted one, as a part of all."""
    lowest, highest = bisect_left(ordered, value), bisect_right(ordered, value)
    rank = wanted * (len(ordered) - 1)
    return max(0.0, lowest - 1 - rank, rank - highest) / len(ordered)


def _timed(action: Callable[[], Any]) -> tuple[float, Any]:
    begun_s = time.perf_counter()
    result = action()
    return time.perf_counter() - begun_s, result


def main(rounds: int) -> None:
    """Each round has values of its own, skewed as latencies are."""
    taken: dict[str, dict[str, list[float]]] = {name: {} for name in CONTENDERS}
    for number in range(rounds):
        rng = random.Random(number)
        parts = [[rng.lognormvariate(7, 1) for _ in range(SOME)] for _ in range(PARTS)]
        for name, contender in CONTENDERS.items():
            for measure_name, value in measure(contender, parts).items():
                taken[name].setdefault(measure_name, []).append(value)
    print(json.dumps(taken))


if __name__ == "__main__":
    main(int(sys.argv[1]))
