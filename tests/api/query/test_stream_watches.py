"""Watching questions: asked once for all who watch, told when changed, given up when nobody is left."""

import asyncio
from collections.abc import Callable
from itertools import count

import pytest

from api.headers import Freshness
from api.query.stream_watches import StreamLimits, Update, Watcher, Watches
from api.refusals import Refusal, StoreAway
from tests.support.watched_questions import SOON, SOON_S, T_US, Question, quiet

PATIENCE_S = 60.0


async def asked_again(question: Question) -> None:
    """Return when the question has been asked twice more: what it says now has been heard."""
    until = question.asked + 2
    while question.asked < until:
        await asyncio.sleep(SOON_S / 10)


def test_thousands_of_watchers_cost_one_question() -> None:
    """All get the same bytes, and the question is asked as often as for one."""

    async def run() -> None:
        question, watches, began_s = Question(), Watches(SOON, quiet()), asyncio.get_running_loop().time()
        watchers = [await watches.join("key", "p", question.ask, None) for _ in range(3_000)]
        assert question.asked <= (asyncio.get_running_loop().time() - began_s) / SOON_S + 1  # joining takes a while
        updates = await asyncio.gather(*(watcher.next() for watcher in watchers))
        assert len({id(update) for update in updates}) == 1
        assert len(watches) == 1
        for watcher in watchers:
            watcher.leave()
        assert len(watches) == 0
        asked = question.asked
        await asyncio.sleep(5 * SOON_S)
        assert question.asked == asked

    asyncio.run(run())


def test_told_only_when_changed() -> None:
    """An answer that differs in its instants alone is none; one that differs in anything else is told at once."""

    async def run() -> None:
        question, watches = Question(), Watches(SOON, quiet())
        watcher = await watches.join("key", "p", question.ask, None)
        first = await watcher.next()
        waiting = asyncio.ensure_future(watcher.next())
        await asked_again(question)
        assert not waiting.done()
        question.body = b"[2]"
        second = await waiting
        assert (first.position, second.position) == (0, 1)
        assert b"[2]" in second.answer
        watcher.leave()

    asyncio.run(run())


def test_a_slow_watcher_gets_the_newest_alone() -> None:
    """A slow watcher is told once of what changed twice meanwhile."""

    async def run() -> None:
        question, watches = Question(), Watches(SOON, quiet())
        watcher = await watches.join("key", "p", question.ask, None)
        await watcher.next()
        for body in (b"[2]", b"[3]"):
            question.body = body
            await asked_again(question)
        assert b"[3]" in (await watcher.next()).answer
        watcher.leave()

    asyncio.run(run())


def resumed(change: Callable[[Question], None], wait_s: float) -> Update | None:
    """Returns what a watcher gets in that time that comes again, with the id of the first answer, after `change`."""

    async def run() -> Update | None:
        question, watches = Question(), Watches(SOON, quiet())
        stays = await watches.join("key", "p", question.ask, None)
        await stays.next()
        question.body, question.as_of_us = b"[1.5]", T_US + 1
        first = await stays.next()
        change(question)
        await asked_again(question)
        back = await watches.join("key", "p", question.ask, first.as_of)
        try:
            return await asyncio.wait_for(back.next(), wait_s)
        except TimeoutError:
            return None
        finally:
            back.leave()
            stays.leave()

    return asyncio.run(run())


def test_resuming() -> None:
    """A watcher that has the newest answer is not sent it again; one that has an older one is, whatever instant it is
    as of."""

    def changed(question: Question) -> None:
        question.body, question.as_of_us = b"[2]", T_US + 2

    def changed_as_of_the_same(question: Question) -> None:
        question.body = b"[2]"

    assert resumed(lambda question: None, 5 * SOON_S) is None
    for change in (changed, changed_as_of_the_same):
        update = resumed(change, PATIENCE_S)
        assert update is not None
        assert b"[2]" in update.answer


def test_a_new_watch_sends_whatever_the_watcher_has() -> None:
    """A new watch sends its answer whatever the watcher has: after a restart nobody knows what was sent under an id
    before."""

    async def run() -> None:
        question = Question()
        watcher = await Watches(SOON, quiet()).join("key", "p", question.ask, "2026-05-28T20:26:40Z")
        assert (await asyncio.wait_for(watcher.next(), PATIENCE_S)).as_of == "2026-05-28T20:26:40Z"
        watcher.leave()

    asyncio.run(run())


def test_trouble_at_first_and_later() -> None:
    """All trouble is raised at first; later Redis is waited for, and a refusal ends the watch for all."""

    async def run() -> None:
        question, watches = Question(), Watches(SOON, quiet())
        for trouble in (StoreAway("away"), Refusal(422, (), "no", "no")):
            question.trouble = trouble
            with pytest.raises(type(trouble)):
                await watches.join("key", "p", question.ask, None)
            assert len(watches) == 0
        question.trouble = None
        watcher = await watches.join("key", "p", question.ask, None)
        await watcher.next()
        question.trouble = StoreAway("away")
        await asked_again(question)
        question.trouble, question.body = None, b"[2]"
        assert b"[2]" in (await watcher.next()).answer
        question.trouble = Refusal(422, (), "no", "no")
        with pytest.raises(Refusal):
            await watcher.next()
        watcher.leave()
        assert len(watches) == 0

    asyncio.run(run())


def test_too_many_questions() -> None:
    """Questions beyond the limit are refused; watchers of those that are watched are not."""

    async def run() -> None:
        question, watches = Question(), Watches(StreamLimits(SOON_S, watches_max=2), quiet())
        watchers = [await watches.join(str(key % 2), "p", question.ask, None) for key in range(4)]
        with pytest.raises(Refusal) as refused:
            await watches.join("2", "p", question.ask, None)
        assert refused.value.status == 503
        for watcher in watchers:
            watcher.leave()

    asyncio.run(run())


def test_one_who_goes_while_the_first_answer_is_worked_out() -> None:
    """Leaves nothing behind."""

    async def run() -> None:
        watches, never = Watches(SOON, quiet()), asyncio.Event()

        async def ask() -> tuple[bytes, Freshness]:
            await never.wait()
            raise AssertionError

        joining = asyncio.ensure_future(watches.join("key", "p", ask, None))
        await asyncio.sleep(SOON_S)
        assert len(watches) == 1
        joining.cancel()
        with pytest.raises(asyncio.CancelledError):
            await joining
        assert len(watches) == 0

    asyncio.run(run())


def test_positions_rise() -> None:
    """A position rises by one with each change."""

    async def run() -> None:
        question, watches = Question(), Watches(SOON, quiet())
        watcher = await watches.join("key", "p", question.ask, None)
        for position in range(3):
            assert (await watcher.next()).position == position
            question.body = b"[%d]" % next(bodies)
        watcher.leave()

    bodies = count(2)
    asyncio.run(run())


def test_few_questions_are_asked_at_a_time() -> None:
    """Whoever asks one of his own waits for those, and not for all that are watched."""

    async def run() -> None:
        asking = most = 0

        async def ask() -> tuple[bytes, Freshness]:
            nonlocal asking, most
            asking += 1
            most = max(most, asking)
            await asyncio.sleep(SOON_S / 10)
            asking -= 1
            return b"[1]", Freshness(T_US, 0)

        watches = Watches(StreamLimits(SOON_S, asked_at_once_max=2), quiet())
        watchers = await asyncio.gather(*(watches.join(str(key), "p", ask, None) for key in range(20)))
        assert most == 2
        for watcher in watchers:
            watcher.leave()

    asyncio.run(run())


def test_few_watchers_are_told_at_a_time() -> None:
    """Others have their turn after each few, not after thousands."""

    async def run() -> None:
        question, watches = Question(), Watches(StreamLimits(SOON_S, told_at_once_max=10), quiet())
        watchers = [await watches.join("key", "p", question.ask, None) for _ in range(500)]
        for watcher in watchers:
            await watcher.next()
        told = 0

        async def hear(watcher: Watcher) -> None:
            nonlocal told
            await watcher.next()
            told += 1

        hearing = [asyncio.ensure_future(hear(watcher)) for watcher in watchers]
        question.body = b"[2]"
        before = most = 0
        while told < len(watchers):
            await asyncio.sleep(0)
            before, most = told, max(most, told - before)
        assert 0 < most <= 10
        await asyncio.gather(*hearing)
        for watcher in watchers:
            watcher.leave()

    asyncio.run(run())


def test_a_watch_that_ends_ends_for_all_who_wait() -> None:
    """Though the first of them who leaves takes it away."""

    async def run() -> None:
        question, watches = Question(), Watches(StreamLimits(SOON_S, told_at_once_max=1), quiet())

        async def hear(watcher: Watcher) -> None:
            try:
                while True:
                    await watcher.next()
            finally:
                watcher.leave()

        hearing = [asyncio.ensure_future(hear(await watches.join("key", "p", question.ask, None))) for _ in range(50)]
        await asked_again(question)
        question.trouble = Refusal(422, (), "no", "no")
        ended = await asyncio.wait_for(asyncio.gather(*hearing, return_exceptions=True), PATIENCE_S)
        assert {type(one) for one in ended} == {Refusal}

    asyncio.run(run())
