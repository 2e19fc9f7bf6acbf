"""A burst of errors on Kafka reaches the webhook once, and in time, while workers and alerters are killed."""

import random
from pathlib import Path

from tests.servers.kafka_server import KafkaServer
from tests.support.bursts import bursting

BURSTS = 6
# Five seconds at p99 of a hundred, by themselves on a machine (`python -m bench.bursts`). Here only this much is asked,
# since other tests may be at work: workers without names take ten seconds.
TOLD_S_MAX = 7.5
# In the turns of this seed there are a worker, an alerter and both among those killed, before and after their bursts.
SEED = 15


def test_told_once_and_without_waiting_for_the_group(kafka_server: KafkaServer, redis_url: str, tmp_path: Path) -> None:
    """A partition whose worker was killed is read again as soon as that is back under its name."""
    turns = random.Random(SEED)
    with bursting(kafka_server.bootstrap_servers, redis_url, tmp_path) as all_running:
        told = [all_running.burst(number, turns) for number in range(BURSTS)]
        times = all_running.times_told()
    assert times == {(one.op, status): 1 for one in told for status in ("firing", "resolved")}
    assert {"worker", "alerter"} <= {name for one in told for name in one.killed.split()}
    assert max(one.after_s for one in told) <= TOLD_S_MAX, told
