"""Where logs end, asked now and then beside the reading: as of when a topic is whose messages tell no broker's time.

Whoever has applied all below the end that the broker named has applied all that came before the question was asked.
"""

import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from confluent_kafka import IsolationLevel, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec  # type: ignore[attr-defined]

from aggregator.time_units import SECOND_US
from ingest.kafka.partition import Partition

log = logging.getLogger(__name__)

# How old the as-of time of a busy topic with CreateTime gets by this, besides what is not applied.
ASK_INTERVAL_US = SECOND_US // 4
ANSWER_TIMEOUT_S = 2.0  # it is asked again and again


class EndMark(NamedTuple):
    """The log ended at `offset`, transactions that are open included, some time after `asked_us`."""

    asked_us: int
    offset: int


class LogEnds:
    """Asks on a thread of its own: the broker may take a while, and the worker goes on."""

    def __init__(self, settings: Mapping[str, str | int | float | bool]) -> None:
        self._settings = dict(settings)
        self._admin: AdminClient | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="log-ends")
        self._under_way: Future[dict[Partition, EndMark]] | None = None
        self._asked_us = 0

    def ask(self, partitions: Iterable[Partition], now_us: int) -> dict[Partition, EndMark]:
        """Ask where these end, if that was not asked a moment ago; returns the answers to the question before."""
        answers: dict[Partition, EndMark] = {}
        if self._under_way is not None:
            if not self._under_way.done():
                return answers
            answers, self._under_way = self._under_way.result(), None
        wanted = list(partitions)
        if wanted and now_us - self._asked_us >= ASK_INTERVAL_US:
            self._asked_us = now_us
            self._under_way = self._thread.submit(self._ends, wanted, now_us)
        return answers

    def close(self) -> None:
        """Return when no question is under way."""
        self._thread.shutdown(cancel_futures=True)

    def _ends(self, partitions: list[Partition], asked_us: int) -> dict[Partition, EndMark]:
        if self._admin is None:
            self._admin = AdminClient(self._settings, logger=log)
        end = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        latest = {TopicPartition(*partition): end for partition in partitions}
        answers = self._admin.list_offsets(
            latest, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=ANSWER_TIMEOUT_S
        )
        found = {}
        for asked, answer in answers.items():
            try:
                found[Partition(asked.topic, asked.partition)] = EndMark(asked_us, answer.result().offset)
            except KafkaException as failed:
                log.debug("where the log ends is not known", extra={"topic": asked.topic, "why": failed.args[0].str()})
        return found
