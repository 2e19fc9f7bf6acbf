"""A burst of errors on Kafka reaches the webhook once and waits for no group, while workers and alerters are killed."""

import random
from pathlib import Path

from tests.servers.kafka_server import KafkaServer
from tests.support.bursts import EXTRA, bursting

BURSTS = 6
# Workers without names are waited for so long, far longer than anything here takes; how soon bursts are told of
# otherwise, `python -m bench.bursts` says.
SESSION_S = 45
TOLD_S_MAX = 30
# In the turns of this seed there are a worker, an alerter and both among those killed, before and after their bursts.
SEED = 15


def test_told_once_and_without_waiting_for_the_group(kafka_server: KafkaServer, redis_url: str, tmp_path: Path) -> None:
    """A partition whose worker was killed is read again as soon as that is back under its name."""
    turns = random.Random(SEED)
    extra = {**EXTRA, "session.timeout.ms": SESSION_S * 1_000, "heartbeat.interval.ms": 300}
    with bursting(kafka_server.bootstrap_servers, redis_url, tmp_path, extra=extra) as all_running:
        told = [all_running.burst(number, turns) for number in range(BURSTS)]
        times = all_running.times_told()
    assert times == {(one.op, status): 1 for one in told for status in ("firing", "resolved")}
    assert {"worker", "alerter"} <= {name for one in told for name in one.killed.split()}
    assert max(one.after_s for one in told) <= TOLD_S_MAX, told
