"""Equal questions at once: each is answered by work that began after it came, and no work is done twice."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from api.query.shared_work import SharedWork


class Work:
    """Work that ends when it is told to, and notes with what `now_us` it began."""

    def __init__(self) -> None:
        self.begun: list[int] = []
        self.ends: list[asyncio.Event] = []
        self.fails = False

    async def __call__(self, now_us: int) -> int:
        self.begun.append(now_us)
        number = len(self.begun)
        self.ends.append(asyncio.Event())
        await self.ends[-1].wait()
        if self.fails:
            raise ValueError(f"work {number}")
        return number


async def settle() -> None:
    """All tasks have gone on as far as they can."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_who_comes_while_it_is_at_work_waits_for_the_next() -> None:
    """The first of four questions begins at once; three that come meanwhile share the second answer, as of the latest
    of them."""

    async def scenario() -> None:
        shared: SharedWork[str, int] = SharedWork()
        work = Work()
        first = asyncio.ensure_future(shared.run("q", 10, work))
        await settle()
        others = [asyncio.ensure_future(shared.run("q", now_us, work)) for now_us in (20, 40, 30)]
        await settle()
        assert work.begun == [10]
        work.ends[0].set()
        await settle()
        assert (await first, work.begun) == (1, [10, 40])
        late = asyncio.ensure_future(shared.run("q", 50, work))
        await settle()
        work.ends[1].set()
        assert await asyncio.gather(*others) == [2, 2, 2]
        await settle()
        work.ends[2].set()
        assert (await late, work.begun) == (3, [10, 40, 50])
        assert not shared._working
        assert not shared._waiting

    asyncio.run(scenario())


def test_questions_that_come_at_once_share_the_first() -> None:
    """Questions that come before the work has begun share its answer."""

    async def scenario() -> None:
        shared: SharedWork[str, int] = SharedWork()
        work = Work()
        both = [asyncio.ensure_future(shared.run("q", now_us, work)) for now_us in (2, 1)]
        await settle()
        work.ends[0].set()
        assert (await asyncio.gather(*both), work.begun) == ([1, 1], [2])

    asyncio.run(scenario())


def test_other_questions_do_not_wait() -> None:
    """Questions with another key do not wait."""

    async def scenario() -> None:
        shared: SharedWork[str, int] = SharedWork()
        work = Work()
        questions = [asyncio.ensure_future(shared.run(key, 1, work)) for key in "ab"]
        await settle()
        assert len(work.begun) == 2
        for end in work.ends:
            end.set()
        assert await asyncio.gather(*questions) == [1, 2]

    asyncio.run(scenario())


def test_a_failure_is_for_all_who_share_it() -> None:
    """A failure is raised for all who share the answer, and the next question is answered anew."""

    async def scenario() -> None:
        shared: SharedWork[str, int] = SharedWork()
        work = Work()
        work.fails = True
        both = [asyncio.ensure_future(shared.run("q", 1, work)) for _ in range(2)]
        await settle()
        work.ends[0].set()
        for one in both:
            with pytest.raises(ValueError, match="work 1"):
                await one
        work.fails = False
        again = asyncio.ensure_future(shared.run("q", 1, work))
        await settle()
        work.ends[1].set()
        assert await again == 2

    asyncio.run(scenario())


@pytest.mark.parametrize("leaves", ["the one who began it", "another"])
def test_one_who_leaves_does_not_take_the_answer_along(leaves: str) -> None:
    """A client that hangs up, whichever it is."""

    async def scenario(run: Callable[[], Awaitable[int]], work: Work) -> None:
        both = [asyncio.ensure_future(run()) for _ in range(2)]
        await settle()
        both.pop(0 if leaves == "the one who began it" else 1).cancel()
        await settle()
        work.ends[0].set()
        assert await both[0] == 1

    async def main() -> None:
        shared: SharedWork[str, int] = SharedWork()
        work = Work()
        await scenario(lambda: shared.run("q", 1, work), work)

    asyncio.run(main())


def test_what_nobody_waits_for_is_given_up() -> None:
    """Work goes on as long as one of those who asked for it stays; when the last leaves, at work or not, it ends."""

    async def scenario() -> None:
        shared: SharedWork[str, int] = SharedWork()
        work = Work()
        first = asyncio.ensure_future(shared.run("q", 1, work))
        await settle()
        waiting = [asyncio.ensure_future(shared.run("q", 2, work)) for _ in range(2)]
        await settle()
        waiting[0].cancel()
        await settle()
        waiting[1].cancel()
        await settle()
        first.cancel()
        await settle()
        assert work.begun == [1]
        assert not shared._working
        assert not shared._waiting
        late = asyncio.ensure_future(shared.run("q", 3, work))
        await settle()
        work.ends[1].set()
        assert (await late, work.begun) == (2, [1, 3])

    asyncio.run(scenario())
