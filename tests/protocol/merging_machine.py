"""The state machine with calls of other hours of a day, so that it has several pieces, and frames of them merge."""

from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from ingest.kafka.partition import Partition
from tests.protocol.machine import PARTITIONS, Protocol, workers
from tests.protocol.sent import EARLIER_MESSAGES, MESSAGES, Sent
from tests.protocol.turns import TO_THE_END

# Steps of sealing a day's pieces and merging their frames; each writes once.
WRITES_MAX = 20


class MergingProtocol(Protocol):
    """A machine of the same workers, which nearly always have frames to merge."""

    @initialize(messages=st.lists(st.sampled_from(EARLIER_MESSAGES), min_size=1, max_size=3))
    def begin_earlier(self, messages: list[Sent]) -> None:
        """Produces messages of hours before."""
        for partition in PARTITIONS:
            self.produce(partition, messages, 0)

    @rule(
        worker=workers,
        partition=st.sampled_from(PARTITIONS),
        earlier=st.sampled_from(EARLIER_MESSAGES),
        later=st.sampled_from(MESSAGES),
        lost=st.sampled_from((0, 0, 1, 3)),
    )
    def change_earlier_pieces(self, worker: int, partition: Partition, earlier: Sent, later: Sent, lost: int) -> None:
        """Lets messages take cells out of frames of two pieces, which are sealed and merged again."""
        self.live_on(worker, partition, [earlier, later], lost)

    @rule(
        worker=workers,
        partition=st.sampled_from(PARTITIONS),
        messages=st.lists(st.sampled_from(EARLIER_MESSAGES), min_size=2, max_size=2),
        writes=st.integers(1, WRITES_MAX),
    )
    def overtake_merging(self, worker: int, partition: Partition, messages: list[Sent], writes: int) -> None:
        """The worker freezes where it is to write what it has sealed or merged; the other one folds what comes, and
        then it goes on.
        """
        for one, sent in zip((worker, 1 - worker), messages, strict=True):
            self._assign(one, partition)
            self.produce(partition, [sent], 0)
            for _ in range(2):
                self.work(one, 3)
            if one == worker:
                for _ in range(writes):
                    self.workers[one].keep_up(until="watch")
        self.keep_up(1 - worker, TO_THE_END)
        self.keep_up(worker, TO_THE_END)
