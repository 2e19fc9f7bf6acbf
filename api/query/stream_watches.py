"""Questions that are asked again and again while somebody watches: however many do, each question is asked once.

A watch asks once a second, and at once where something of its project is applied after a second in which nothing was.
It keeps only its newest answer, which all its watchers share. Whoever is slow misses answers in between and gets the
newest; nothing is queued for anybody. Few questions are asked at a time and few watchers are told at a time, so that
whoever asks a question of his own waits for those few and not for all.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from aggregator.timestamps import format_utc
from api.headers import Freshness
from api.query.change_notices import ChangeNotices
from api.refusals import Refusal, StoreAway

log = logging.getLogger(__name__)


class StreamLimits(NamedTuple):
    """What watching may cost."""

    # Between two askings of a question, so between two of its answers.
    watch_s: float = 1.0
    # Distinct questions; each takes some milliseconds of work every second.
    watches_max: int = 500
    # Watched questions that are asked at a time, each a few milliseconds of work in some steps; the others wait. With
    # all at once, each step of a plain question would wait for a step of each of them.
    asked_at_once_max: int = 4
    # Watchers that are told before others have their turn; each is some 0.1 ms of work.
    told_at_once_max: int = 20
    # Between two signs of life. Proxies close what is silent for a minute; a key is asked for again as often.
    heartbeat_s: float = 15.0
    # An answer waits until all but some 64 KB of those before have been taken; who keeps it waiting longer is dropped.
    taken_s_max: float = 10.0


# What changes with every `now`, and with nothing else. Quotes inside JSON strings are escaped, so none is taken for it.
_INSTANTS = re.compile(rb'"(?:previous_)?(?:start|end)":"[^"]*",?')

Ask = Callable[[], Awaitable[tuple[bytes, Freshness]]]


class Update(NamedTuple):
    """An answer that differs from the one before; `position` counts those of a watch."""

    position: int
    as_of: str
    answer: bytes


class Watches:
    """The questions that are watched, by key."""

    def __init__(self, limits: StreamLimits, notices: ChangeNotices) -> None:
        self._limits = limits
        self._notices = notices
        self._watches: dict[str, _Watch] = {}
        self._asking = asyncio.Semaphore(limits.asked_at_once_max)

    def __len__(self) -> int:
        return len(self._watches)

    async def join(self, key: str, project_id: str, ask: Ask, last_as_of: str | None) -> "Watcher":
        """Watch the question that all with this key ask of a project, by `ask`, once it has its first answer.

        `last_as_of`: the id of the newest update that the watcher has, if any; it is not given again while it is the
        newest. Raises what `ask` raises instead of a first answer, and Refusal (503) for too many questions.
        """
        watch = self._watches.get(key)
        if watch is None:
            if len(self._watches) >= self._limits.watches_max:
                sentence = (
                    f"The server watches no more than {self._limits.watches_max:,} different questions; please retry."
                )
                raise Refusal(503, (), sentence, "busy", headers={"Retry-After": "10"})
            watch = self._watches[key] = _Watch(ask, self._asking, self._limits, _Changes(self._notices, project_id))
        watch.watchers += 1
        watcher = Watcher(watch, lambda: self._leave(key, watch))
        try:
            await watch.answered()
        except BaseException:
            watcher.leave()
            raise
        watcher.seen = watch.position_of(last_as_of)
        return watcher

    def _leave(self, key: str, watch: "_Watch") -> None:
        watch.watchers -= 1
        if not watch.watchers or watch.has_ended:
            watch.stop()
            if self._watches.get(key) is watch:
                del self._watches[key]


class Watcher:
    """One who watches a question; `leave` when done. `seen`: the position of the newest update that was given."""

    def __init__(self, watch: "_Watch", leave: Callable[[], None]) -> None:
        self._watch = watch
        self.leave = leave
        self.seen = -1

    async def next(self) -> Update:
        """The newest update, as soon as there is one that was not given yet. Raises Refusal once there will be none."""
        update = await self._watch.after(self.seen)
        self.seen = update.position
        return update


class _Changes:
    """What is noticed of a project for one watch."""

    def __init__(self, notices: ChangeNotices, project_id: str) -> None:
        self._notices = notices
        self._project_id = project_id
        self._mark = notices.mark(project_id)
        self._follows = True
        notices.follow(project_id)

    def stop(self) -> None:
        if self._follows:
            self._follows = False
            self._notices.leave(self._project_id)

    def since_the_last_asking(self) -> bool:
        """Whether anything was noticed since this was called last: just before it is asked."""
        before, self._mark = self._mark, self._notices.mark(self._project_id)
        return before not in (None, self._mark)

    async def wait(self, wait_s: float) -> None:
        """Return when something is noticed that was not when it was last asked, or after so many seconds."""
        await self._notices.other_than(self._project_id, self._mark, wait_s)


class _Watch:
    """One question while it is watched."""

    def __init__(self, ask: Ask, asking: asyncio.Semaphore, limits: StreamLimits, changes: _Changes) -> None:
        self._ask = ask
        self._asking = asking
        self._limits = limits
        self._changes = changes
        self._newest: Update | None = None
        self._ended: Exception | None = None
        self._same_as_of = False
        self._waiting: dict[asyncio.Future[None], None] = {}  # in the order in which they came
        self._task = asyncio.ensure_future(self._run())
        self.watchers = 0

    @property
    def has_ended(self) -> bool:
        """Whether it will give no answer any more."""
        return self._ended is not None

    def stop(self) -> None:
        """Nobody watches any more."""
        self._task.cancel()
        self._changes.stop()

    async def answered(self) -> None:
        """Return when there is an answer; raises what was raised instead."""
        await self._wait(lambda: self._newest is not None)

    async def after(self, position: int) -> Update:
        """The newest update, once it is a later one. Raises what ended the watch."""
        await self._wait(lambda: self._newest is not None and self._newest.position > position)
        assert self._newest is not None
        return self._newest

    def position_of(self, as_of: str | None) -> int:
        """The position of the newest update if it is certainly the one of this instant that was given, else -1.

        The first of a watch is not: before a restart another answer may have been given as of the same instant.
        """
        newest = self._newest
        certain = newest is not None and newest.position > 0 and not self._same_as_of
        return newest.position if newest is not None and certain and newest.as_of == as_of else -1

    async def _wait(self, is_there: Callable[[], bool]) -> None:
        while not is_there():
            if self._ended is not None:
                raise self._ended
            told = asyncio.get_running_loop().create_future()
            self._waiting[told] = None
            try:
                await told
            finally:
                self._waiting.pop(told, None)

    async def _run(self) -> None:
        content = b""
        loop = asyncio.get_running_loop()
        not_before_s = 0.0
        while self._ended is None:
            begun_s = loop.time()
            # Asking while nothing happens costs those nothing who wait for what happens next.
            if self._changes.since_the_last_asking():
                not_before_s = begun_s + self._limits.watch_s
            try:
                async with self._asking:
                    answer, freshness = await self._ask()
            except StoreAway as away:
                # Who watches is told by the heartbeat's silence of answers; who comes new, by a 503.
                if self._newest is None:
                    self._ended = away
            except Refusal as refusal:
                self._ended = refusal
            except Exception as mistake:
                log.exception("a watched question failed")
                self._ended = mistake
            else:
                if (without_instants := _INSTANTS.sub(b"", answer)) != content:
                    content = without_instants
                    not_before_s = begun_s + self._limits.watch_s
                    self._update(answer, freshness)
                    await self._tell()
            if self._ended is not None:
                for told in self._waiting:  # at once: the first of them who leaves ends this task
                    _wake(told)
                return
            await asyncio.sleep(max(0.0, min(not_before_s, begun_s + self._limits.watch_s) - loop.time()))
            await self._changes.wait(begun_s + self._limits.watch_s - loop.time())

    def _update(self, answer: bytes, freshness: Freshness) -> None:
        as_of = "" if freshness.as_of_us is None else format_utc(freshness.as_of_us)
        before = self._newest
        self._same_as_of = before is not None and before.as_of == as_of
        self._newest = Update(0 if before is None else before.position + 1, as_of, answer)

    async def _tell(self) -> None:
        for at, told in enumerate(list(self._waiting), 1):
            _wake(told)
            if at % self._limits.told_at_once_max == 0:
                await asyncio.sleep(0)


def _wake(told: "asyncio.Future[None]") -> None:
    if not told.done():
        told.set_result(None)
