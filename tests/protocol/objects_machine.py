"""The state machine with more of what may happen to objects: a store that is long away, a grace after a fall-back."""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from ingest.kafka.partition import Partition
from tests.protocol.machine import PARTITIONS, Protocol, workers
from tests.protocol.sent import MESSAGES, Sent
from tests.protocol.turns import TO_THE_END

FALLEN_BACK = (2, 5, 10, 20)


class ObjectsProtocol(Protocol):
    """A machine of the same workers, whose objects may be out of reach for more than a command."""

    @rule()
    def lose_or_find_objects(self) -> None:
        """Makes the object store be out of reach from now on, or be there again."""
        self.objects.is_away = not self.objects.is_away

    @rule(
        worker=workers,
        partition=st.sampled_from(PARTITIONS),
        messages=st.lists(st.sampled_from(MESSAGES), min_size=2, max_size=3),
        lost=st.sampled_from(FALLEN_BACK),
        waits_before=st.booleans(),
    )
    def fall_back_and_wait(
        self, worker: int, partition: Partition, messages: list[Sent], lost: int, waits_before: bool
    ) -> None:
        """Lets events change what is in objects, Redis fall back, and a grace pass before anything is folded again."""
        self.objects.is_away = False
        self.live_on(worker, partition, messages[1:], 0)
        if waits_before:
            self.wait()
        self.live_on(worker, partition, messages[:1], lost)
        self.keep_up(worker, TO_THE_END)
        self.wait()
        for _ in range(2):
            self.keep_up(worker, TO_THE_END)

    def teardown(self) -> None:
        """Reads everything to the end, with objects."""
        self.objects.is_away = False
        super().teardown()
