"""A short run of most scenarios of `make chaos`."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from random import Random

import pytest

from tests.chaos.__main__ import EVENTS_SHORT
from tests.chaos.scenarios import ONLY_LONG, SCENARIOS
from tests.chaos.stage import Stage
from tests.chaos.workload import Workload
from tests.servers.kafka_server import KafkaServer

SEED = 1

# Waits end when what they wait for is there; on a machine with much else to do that may be late.
pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]


@cache
def workload() -> Workload:
    """One workload for all scenarios, so that the brute force works once."""
    return Workload(SEED, EVENTS_SHORT)


def say_nothing(_: str) -> None:
    """Progress is for `make chaos`."""


def test_workload_holds_all_that_happens_to_events() -> None:
    """A tenth comes again, ends before starts, days late too, and some are no events; twice the same by the seed."""
    lines = workload().lines
    assert [line.value for line in lines] == [line.value for line in Workload(SEED, EVENTS_SHORT).lines]
    assert len(lines) - len({line.value for line in lines}) > EVENTS_SHORT // 12
    assert EVENTS_SHORT // 200 < workload().invalid_lines < EVENTS_SHORT // 50
    started: set[str] = set()
    early_ends, newest_us, late = 0, 0, 0
    for line in lines:
        for event in workload().events[line.value]:
            if event.start is not None:
                started.add(event.call_id)
                late += event.start.started_at_us < newest_us - 2 * 86_400_000_000
                newest_us = max(newest_us, event.start.started_at_us)
            else:
                early_ends += event.call_id not in started
    assert early_ends > 50
    assert late > 20


@pytest.mark.apache_kafka
@pytest.mark.parametrize("name", [name for name in SCENARIOS if name not in ONLY_LONG])
def test_scenario(name: str, kafka_server: KafkaServer, tmp_path: Path) -> None:
    """The scenario harms no answer, during or after."""
    scenario: Callable[[Stage], str] = SCENARIOS[name]
    assert scenario(Stage(workload(), kafka_server, tmp_path, Random(f"{SEED}/{name}"), True, say_nothing))
