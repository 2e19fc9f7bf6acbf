"""What is applied is noticed at once by those who watch, and costs no more questions than before."""

import asyncio

from api.query.change_notices import ChangeNotices
from api.query.stream_watches import StreamLimits, Watches
from api.refusals import StoreAway
from tests.support.watched_questions import SOON_S, Marks, Question


def test_what_is_applied_after_quiet_is_told_at_once() -> None:
    """A change that is noticed is asked for at once, not at the next turn; one that follows soon waits for its turn."""
    turn_s = 60 * SOON_S

    async def run() -> None:
        marks, question = Marks(), Question()
        watches = Watches(StreamLimits(turn_s), ChangeNotices(marks.look, SOON_S))
        watcher = await watches.join("key", "p", question.ask, None)
        await watcher.next()
        asked = question.asked
        while question.asked < asked + 2:  # turns in which nothing happens
            await asyncio.sleep(SOON_S)
        marks.mark, question.body = 2, b"[2]"
        asked = question.asked
        assert b"[2]" in (await watcher.next()).answer
        assert question.asked == asked + 1
        marks.mark, question.body = 3, b"[3]"
        assert b"[3]" in (await watcher.next()).answer
        assert question.asked == asked + 2
        assert question.asked_s[-1] - question.asked_s[-2] > turn_s / 2
        watcher.leave()

    asyncio.run(run())


def test_whoever_is_noticed_always_is_asked_each_turn() -> None:
    """A question of a project where something happens all the time is asked as often as any; trouble in looking
    changes nothing, and nobody looks when nobody watches.
    """
    turn_s = 20 * SOON_S

    async def run() -> None:
        loop, marks, question = asyncio.get_running_loop(), Marks(), Question()
        watches = Watches(StreamLimits(turn_s), ChangeNotices(marks.look, SOON_S))
        watcher = await watches.join("key", "p", question.ask, None)
        begun_s, asked = loop.time(), question.asked
        for step in range(60):
            marks.mark, marks.trouble = step, StoreAway("away") if step % 3 == 1 else None
            await asyncio.sleep(SOON_S)
        assert 1 <= question.asked - asked <= (loop.time() - begun_s) / turn_s + 1
        watcher.leave()
        await asyncio.sleep(2 * SOON_S)
        looked = marks.looked
        await asyncio.sleep(5 * SOON_S)
        assert marks.looked == looked

    asyncio.run(run())
