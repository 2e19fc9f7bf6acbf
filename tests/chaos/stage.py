"""What a scenario is given, and what it raises."""

from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import NamedTuple

from tests.chaos.workload import Workload
from tests.servers.kafka_server import KafkaServer


class ChaosFailed(AssertionError):
    """The product did not do what it must."""


class Stage(NamedTuple):
    """All that a scenario is given. `say` shows progress; `short`: few repetitions, for few events."""

    workload: Workload
    kafka: KafkaServer
    directory: Path
    rng: Random
    short: bool
    say: Callable[[str], None]

    def times(self, full: int, short: int) -> int:
        """How often to do something."""
        return short if self.short else full
