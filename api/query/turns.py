"""Turns for expensive work: some of it at a time, in turn by who asks, so that nobody's month keeps others waiting.

Cheap questions take no turn. An expensive one takes a turn for each stretch of its work and stands in line again after
it, so that many who ask expensive questions get on together, whoever asks most.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import TypeVar

from api.refusals import Refusal

Made = TypeVar("Made")

# Who asks the question that is being answered: the id of an access key.
ASKER: ContextVar[str] = ContextVar("asker", default="")

# One at a time uses what one processor has left besides cheap questions; more would only wait for it inside Python.
AT_ONCE_MAX = 1
# In line for a turn; each holds its question and the rows it has so far.
WAITING_MAX = 200
# Of rows of answers that are not complete: 256 MiB of memory, on which all who ask draw.
ROWS_UNDER_WAY_BYTES_MAX = 256 * 2**20
# Those in line are through within seconds.
RETRY_AFTER_S = 2


class Turns:
    """Turns, a thread for what would hold the event loop, and the memory that rows under way may take."""

    def __init__(self, rows_bytes_max: int = ROWS_UNDER_WAY_BYTES_MAX) -> None:
        self._free = AT_ONCE_MAX
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._threads = ThreadPoolExecutor(AT_ONCE_MAX, thread_name_prefix="rows")
        self._rows_bytes_left = rows_bytes_max

    @asynccontextmanager
    async def turn(self, at_once: bool = True) -> AsyncIterator["Turn"]:
        """Wait for a turn, and give it on at the end. Raises Refusal (503) where too many wait.

        Not `at_once`: only from when it turns out that one is needed.
        """
        turn = Turn(self)
        try:
            if at_once:
                await turn.next()
            yield turn
        finally:
            turn.end()

    async def aside(self, make: Callable[[], Made]) -> Made:
        """Return what `make` makes, in the thread: the event loop goes on meanwhile."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, make)

    @contextmanager
    def rows(self) -> Iterator["RowsUnderWay"]:
        """Memory for the rows of one answer."""
        held = RowsUnderWay(self)
        try:
            yield held
        finally:
            self._rows_bytes_left += held.size_bytes

    def take_bytes(self, size_bytes: int) -> None:
        """Raises Refusal (503) where there is no room."""
        if size_bytes > self._rows_bytes_left:
            raise _busy("The server has no memory for more large answers at once; please retry.")
        self._rows_bytes_left -= size_bytes

    async def take(self, asker: str) -> None:
        """Wait for a turn; see `turn`."""
        if self._free:
            self._free -= 1
            return
        if sum(map(len, self._waiting.values())) >= WAITING_MAX:
            raise _busy("Too many expensive questions wait for their turn; please retry.")
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(asker, deque()).append(mine)
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self.give_on()
            raise

    def give_on(self) -> None:
        """The turn goes to who waits longest of the asker whose turn it is, and that asker to the end of the line."""
        while self._waiting:
            asker, line = self._waiting.popitem(last=False)
            first = line.popleft()
            if line:
                self._waiting[asker] = line
            if not first.done():
                first.set_result(None)
                return
        self._free += 1


class Turn:
    """One who has a turn, or will."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._is_ours = False

    async def next(self) -> None:
        """Give the turn on, if it is ours, and wait for another. Raises Refusal (503) where too many wait."""
        self.end()
        await self._turns.take(ASKER.get())
        self._is_ours = True

    def end(self) -> None:
        """Give the turn on, if it is ours."""
        if self._is_ours:
            self._is_ours = False
            self._turns.give_on()


class RowsUnderWay:
    """How much of that memory one answer holds."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self.size_bytes = 0

    def add(self, size_bytes: int) -> None:
        """Take so much more. Raises Refusal (503)."""
        self._turns.take_bytes(size_bytes)
        self.size_bytes += size_bytes


def _busy(sentence: str) -> Refusal:
    return Refusal(503, (), sentence, "busy", headers={"Retry-After": str(RETRY_AFTER_S)})
