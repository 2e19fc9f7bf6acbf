"""The state machine with backups, which are restored step by step while workers go on."""

import secrets
from itertools import product

from hypothesis import strategies as st
from hypothesis.stateful import rule

from aggregator.layout.keys import MOVED, SEALED, SESSION_BYTES, ShardKeys, ShardName, fence_at, stored_element
from tests.protocol.machine import COMMANDS, LOST, PARTITIONS, STEPS_LAST, STEPS_MORE, Protocol, workers
from tests.protocol.memory_redis import DUMP_AGE_S_MAX, State
from tests.protocol.sent import MESSAGES, Sent
from tests.protocol.stored import next_offset
from tests.protocol.turns import TO_THE_END
from tests.protocol.worker_process import NAMESPACE

SHARD = ShardName(NAMESPACE, *PARTITIONS[0])
KEYS = ShardKeys(SHARD)
FENCE = KEYS.next.encode()


class Restoring(Protocol):
    """A machine with backups of its one shard. `closes`: whether workers are kept out meanwhile."""

    closes = True

    def __init__(self) -> None:
        super().__init__()
        self._copied: State | None = None
        self._copied_us = 0

    @rule()
    def back_up(self) -> None:
        """Copies what Redis holds at one instant."""
        self._copied, self._copied_us = self.server.state, self.now_us

    @rule(worker=workers, messages=st.lists(st.sampled_from(MESSAGES), min_size=2, max_size=4), grows_old=st.booleans())
    def live_on_after_a_backup(self, worker: int, messages: list[Sent], grows_old: bool) -> None:
        """Much happens after a backup, so that objects which it points into are retired, and perhaps deleted."""
        self.live_on(worker, PARTITIONS[0], messages[:1], 0)
        self.back_up()
        self.live_on(worker, PARTITIONS[0], messages[1:], 0)
        if grows_old:
            self.wait()
            for _ in range(3):
                self.keep_up(worker, TO_THE_END)

    @rule(worker=workers, moment=st.sampled_from(tuple(product(COMMANDS, STEPS_MORE, STEPS_MORE, STEPS_LAST))))
    def restore(self, worker: int, moment: tuple[str, int, int, int]) -> None:
        """Restores what was copied last, if that is not too old, while a worker that was in a batch goes on."""
        copied, (command, *steps, steps_last) = self._copied, moment
        if copied is None or self.now_us - self._copied_us > DUMP_AGE_S_MAX * 1_000_000:
            return
        self.work_until(worker, command)
        self.work(1 - worker, 1)
        if self.closes:
            self._fence(MOVED)
        for step, steps_more in zip((_clear, lambda state: _load(state, copied)), steps, strict=True):
            self.server.change(step)
            if steps_more:
                self.workers[worker].run(2, steps_more)
        offset = next_offset(copied, SHARD)
        if offset is None:
            self._fence(None)
        else:
            self.server.change(
                lambda state: state.hset(KEYS.writer.encode(), {b"session": secrets.token_bytes(SESSION_BYTES)})
            )
            drawn = secrets.token_hex(8).encode()
            self._fence(fence_at(offset, stored_element(copied.string(FENCE))) + SEALED + drawn)
        if steps_last:
            self.workers[worker].run(2, steps_last)

    @rule(states=st.sampled_from(LOST))
    def forget(self, states: int) -> None:
        """Redis falls back, but not into the middle of a restore, which would have to be done again by hand."""
        super().forget(states)
        while self.server.state.string(FENCE) == MOVED:
            self.server.go_back(1)

    def _fence(self, fence: bytes | None) -> None:
        self.server.writes_of[FENCE] = self.server.writes_of.get(FENCE, 0) + 1
        self.server.change(lambda state: state.delete(FENCE) if fence is None else state.set(FENCE, fence))


class RestoringUnclosed(Restoring):
    """A machine whose restores let workers write meanwhile."""

    closes = False


def _clear(state: State) -> None:
    """Delete all keys but the fence."""
    for key in list(state.keys):
        if key != FENCE:
            state.delete(key)


def _load(state: State, copied: State) -> None:
    """Write all keys but the fence."""
    state.keys |= {key: stored for key, stored in copied.keys.items() if key != FENCE}
    state.expiries |= {key: at_unix_s for key, at_unix_s in copied.expiries.items() if key != FENCE}
