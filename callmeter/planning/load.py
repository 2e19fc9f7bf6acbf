"""What is to be carried, and on what: the calls that come in, and the machines that take them."""

import math
from dataclasses import dataclass, field

from aggregator.rollups.levels import Retention
from callmeter.planning.costs import StoragePrices
from callmeter.planning.rollup_memory import Mix

EVENTS_PER_CALL = 2  # a start and an end, as Weave's SDKs send them
KEPT = Retention()
BASELINE = Mix()  # what the benchmarks' calls are like, of one project


@dataclass(frozen=True)
class Load:
    """What comes in and how long it is kept. `busiest_share`: of the calls, in the busiest project (None: all alike).
    `seal_after_s`: how old what is finished is when it is sealed (None: it never is).
    `moves`: whether what is sealed goes into a directory or a bucket.

    Raises ValueError for what is no load.
    """

    calls_per_s: float
    projects: int = 1
    mix: Mix = BASELINE
    message_bytes: float = 1_000.0
    retention: Retention = KEPT
    busiest_share: float | None = None
    seal_after_s: int | None = None
    moves: bool = False

    def __post_init__(self) -> None:
        amounts = (self.calls_per_s, self.projects, self.mix.models, self.mix.ops, self.message_bytes)
        if not all(0 < amount < math.inf for amount in amounts):
            raise ValueError("calls a second, projects, models, ops and message bytes must be above 0")
        if self.mix.calls_per_trace < 1 or not 0 <= self.mix.usage_share <= 1:
            raise ValueError("a trace has at least one call, and a share is between 0 and 1")
        if self.busiest_share is not None and not 1 / self.projects <= self.busiest_share <= 1:
            raise ValueError("the busiest project has at least its even share of the calls, and at most all of them")

    @property
    def events_per_s(self) -> float:
        return self.calls_per_s * EVENTS_PER_CALL

    @property
    def busiest_calls_per_s(self) -> float:
        """Return how many calls a second the busiest project has."""
        return self.calls_per_s * (self.busiest_share or 1 / self.projects)


@dataclass(frozen=True)
class Deployment:
    """How full things may be: `busy` is the part of its speed at which a worker or a master runs, `filled` the part of
    `master_bytes` that a master's data takes. `replicas` counts the copies of a message that the broker keeps.
    `prices`: what memory, disks and objects cost.
    """

    busy: float = 0.5
    master_bytes: float = 32e9
    filled: float = 0.7
    replicas: int = 3
    prices: StoragePrices = field(default_factory=StoragePrices)

    def __post_init__(self) -> None:
        if not (0 < self.busy <= 1 and 0 < self.filled <= 1 and self.master_bytes > 0 and self.replicas >= 1):
            raise ValueError("parts are above 0 and at most 1, a master has memory, a message at least one copy")

    @property
    def usable_bytes(self) -> float:
        """Return the bytes of one master that data may take."""
        return self.master_bytes * self.filled
