"""The state machine: what may happen to workers, a shard, its log and its Redis, in any order; and what must hold."""

from itertools import product

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from aggregator.layout.keys import ShardName
from aggregator.time_units import SECOND_US
from ingest.kafka.partition import Partition
from tests.protocol.memory_log import MemoryLog
from tests.protocol.memory_objects import Kept
from tests.protocol.memory_redis import MemoryRedis, State
from tests.protocol.memory_store import Fault
from tests.protocol.sent import MESSAGES, Sent
from tests.protocol.stored import as_of_us, next_offset, totals_in
from tests.protocol.totals import BEGAN_US, Totals, fold
from tests.protocol.turns import TO_THE_END
from tests.protocol.worker_process import GRACE_S, NAMESPACE, Parts, WorkerProcess

PARTITIONS = (Partition("calls", 0),)
# How many commands of a batch, which has about twenty, a worker sends before another one comes in.
STEPS = (1, 2, 3, 5, 8, 13, 20)
STEPS_MORE = (0, 3, 6, 10)
# Up to where all is read, and nothing written.
UNTIL_WRITING = -1
# All that came since the worker froze: then it finds Redis as it had left it.
SINCE_FROZEN = -1
LOST_MEANWHILE = (0, 1, SINCE_FROZEN)
STEPS_LAST = (0, TO_THE_END)
LOST_LATER = (0, 0, 0, 2, 5, 10, 20, 40)
COMMANDS = (
    "exec",
    "exec",
    "watch",
    "put",
    "delete",
    "register",
    "shard_fields",
    "read_fields",
    "read_hashes",
    "scan_fields",
    "keep_alive",
)
OVERTAKINGS = tuple(product(COMMANDS, (0, 3, 10, UNTIL_WRITING), LOST_MEANWHILE, STEPS_LAST))
BATCHES = (1, 2, 3)
# How often a worker finds nothing to read before the next message comes.
IDLE = (1, 2, 3, 5)
GAPS = (0, 0, 0, 2)
# How many transactions Redis loses: those of the last second, or all there ever were.
LOST = (1, 1, 1, 2, 2, 3, 4, 6, 10, TO_THE_END)
CATCH_UP_BATCHES_MAX = 100

workers = st.sampled_from((0, 1))


class Protocol(RuleBasedStateMachine):
    """Two workers, either of which may believe that a partition is its own; both may."""

    parts = Parts()

    def __init__(self) -> None:
        super().__init__()
        self.now_us = BEGAN_US + 3_600 * SECOND_US
        self.log = MemoryLog(PARTITIONS)
        self.server = MemoryRedis(lambda: self.now_us // SECOND_US)
        self.objects = Kept()
        self.workers = [self._new_worker() for _ in range(2)]
        self._expected: dict[tuple[Partition, int], Totals] = {}
        self._checked: State | None = None

    def _new_worker(self) -> WorkerProcess:
        return WorkerProcess(self.parts, self.server, self.log, lambda: self.now_us, self.objects)

    @initialize(messages=st.lists(st.sampled_from(MESSAGES), min_size=4, max_size=8))
    def begin(self, messages: list[Sent]) -> None:
        """Produces the first messages, and tells the workers of their partitions."""
        for partition in PARTITIONS:
            self.produce(partition, messages, 0)
        for worker in self.workers:
            worker.source.rebalances += PARTITIONS

    @rule(
        partition=st.sampled_from(PARTITIONS),
        messages=st.lists(st.sampled_from(MESSAGES), min_size=1, max_size=3),
        gap=st.sampled_from(GAPS),
    )
    def produce(self, partition: Partition, messages: list[Sent], gap: int) -> None:
        for sent in messages:
            self.log.append(partition, sent, self.now_us, gap)

    @rule(worker=workers, partition=st.sampled_from(PARTITIONS))
    def rebalance(self, worker: int, partition: Partition) -> None:
        """Assign to a worker what it has not, or revoke what it has. It learns of it when it next polls."""
        self.workers[worker].source.rebalances.append(partition)

    @rule(worker=workers, pace=st.sampled_from(tuple(product(BATCHES, STEPS))))
    def work_a_little(self, worker: int, pace: tuple[int, int]) -> None:
        """A few commands of a batch, so that others come between."""
        self.now_us += SECOND_US
        self.workers[worker].run(*pace)

    @rule(worker=workers, steps=st.sampled_from((TO_THE_END, TO_THE_END, *STEPS)))
    def keep_up(self, worker: int, steps: int) -> None:
        """Seals, moves and collects what is due, as when no message comes for a while."""
        self.now_us += SECOND_US
        self.workers[worker].keep_up(steps)

    @rule(worker=workers, command=st.sampled_from(COMMANDS))
    def work_until(self, worker: int, command: str) -> None:
        """A batch up to a moment that matters."""
        self.now_us += SECOND_US
        self.workers[worker].run(2, until=command)

    @rule(worker=workers, messages_max=st.sampled_from(BATCHES))
    def work(self, worker: int, messages_max: int) -> None:
        """The rest of a batch, or all of one."""
        self.now_us += SECOND_US
        self.workers[worker].run(messages_max)

    @rule(worker=workers, moment=st.sampled_from(OVERTAKINGS))
    def overtake(self, worker: int, moment: tuple[str, int, int, int]) -> None:
        """The worker freezes at a moment that matters and the other one does a batch: the second time, if it had to
        learn first that it had been overtaken itself. Then the first one goes on, and Redis may forget on the way.
        """
        command, steps_more, lost, steps_last = moment
        self.work_until(worker, command)
        states = len(self.server.states)
        for _ in range(2):
            self.work(1 - worker, 2)
        if steps_more == UNTIL_WRITING:
            self.work_until(worker, "watch")
        elif steps_more:
            self.workers[worker].run(2, steps_more)
        if lost == SINCE_FROZEN:
            lost = len(self.server.states) - states
        if lost > 0:
            self.forget(lost)
        if steps_last:
            self.workers[worker].run(2, steps_last)

    @rule(
        worker=workers,
        partition=st.sampled_from(PARTITIONS),
        messages=st.lists(st.sampled_from(MESSAGES), min_size=1, max_size=2),
        lost=st.sampled_from(LOST_LATER),
    )
    def live_on(self, worker: int, partition: Partition, messages: list[Sent], lost: int) -> None:
        """Messages come one by one, long after each other, each for what may be in objects by then; then Redis may
        forget some of it.
        """
        self._assign(worker, partition)
        for sent in messages:
            self.produce(partition, [sent], 0)
            for _ in range(2):
                self.work(worker, 3)
            self.keep_up(worker, TO_THE_END)
        if lost:
            self.forget(lost)

    @rule(
        worker=workers,
        partition=st.sampled_from(PARTITIONS),
        messages=st.lists(st.sampled_from(MESSAGES), min_size=2, max_size=4),
        idle=st.sampled_from(IDLE),
    )
    def trickle(self, worker: int, partition: Partition, messages: list[Sent], idle: int) -> None:
        """Messages come one by one, each in the middle of what is sealed and moved because none came for a while."""
        self._assign(worker, partition)
        for sent in messages:
            self.produce(partition, [sent], 0)
            for _ in range(idle):
                self.work(worker, 3)

    @rule()
    def wait(self) -> None:
        """Waits until what has been retired may be deleted; nobody freezes for as long."""
        if not any(worker.busy for worker in self.workers):
            self.now_us += GRACE_S * SECOND_US

    @rule(worker=workers, fault=st.sampled_from(Fault))
    def fail_next_command(self, worker: int, fault: Fault) -> None:
        self.workers[worker].fault = fault

    @rule(worker=workers)
    def crash(self, worker: int) -> None:
        self.workers[worker].kill()
        self.workers[worker] = self._new_worker()

    @rule(states=st.sampled_from(LOST))
    def forget(self, states: int) -> None:
        """Redis is killed, or fails over, and lacks what came last."""
        self.server.go_back(states)

    @rule()
    def deliver_late(self) -> None:
        self.server.deliver_late()

    @invariant()
    def holds_what_is_below_the_next_offset(self) -> None:
        """Exactly that: nothing is lost, nothing is there twice. And what is not yet there is not said to be."""
        state = self.server.state
        if state is self._checked:
            return
        self._checked = state
        for partition in PARTITIONS:
            shard = ShardName(NAMESPACE, *partition)
            below = next_offset(state, shard) or 0
            expected, found = self._fold(partition, below), self._totals(state, shard)
            # A registration that Redis forgets before the first batch is applied comes back when the shard is reopened.
            assert found.registered <= expected.registered
            found.registered = expected.registered
            assert found == expected, _difference(found, expected)
            unapplied = [message.broker_us for message in self.log.messages[partition] if message.offset >= below]
            assert as_of_us(state, shard) <= min(unapplied, default=self.now_us)

    def teardown(self) -> None:
        """Reads everything to the end when all is well again."""
        try:
            self._catch_up()
        finally:
            for worker in self.workers:
                worker.kill()

    def _catch_up(self) -> None:
        """Ends what is under way; then the second worker leaves, and the first starts anew."""
        for worker in self.workers:
            worker.fault = None
            while worker.busy:
                worker.run(1)
        self.server.deliver_late()
        first = self.workers[0] = self._new_worker()
        first.source.rebalances += PARTITIONS
        for _ in range(CATCH_UP_BATCHES_MAX):
            first.run(3)
            if all(self._next_offset(partition) == self.log.end(partition) for partition in PARTITIONS):
                break
        self._checked = None
        self.holds_what_is_below_the_next_offset()
        for partition in PARTITIONS:
            assert self._next_offset(partition) == self.log.end(partition)
            registered = self._totals(self.server.state, ShardName(NAMESPACE, *partition)).registered
            assert registered == self._fold(partition, self.log.end(partition)).registered

    def _assign(self, worker: int, partition: Partition) -> None:
        if not self.workers[worker].source.will_hold(partition):
            self.workers[worker].source.rebalances.append(partition)

    def _totals(self, state: State, shard: ShardName) -> Totals:
        """Returns what Redis and the objects hold; raises where one of them lacks what the other points into."""
        return totals_in(state, shard, self.parts.objects(self.objects))

    def _next_offset(self, partition: Partition) -> int:
        return next_offset(self.server.state, ShardName(NAMESPACE, *partition)) or 0

    def _fold(self, partition: Partition, below: int) -> Totals:
        if (partition, below) not in self._expected:
            self._expected[partition, below] = fold(self.log.below(partition, below))
        return self._expected[partition, below]


def _difference(found: Totals, expected: Totals) -> str:
    return "\n".join(
        f"{name}: found {value}, expected {getattr(expected, name)}"
        for name, value in vars(found).items()
        if value != getattr(expected, name)
    )
