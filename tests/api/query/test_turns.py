"""Turns: one at a time, in turn by asker, given on whatever happens; and memory that all who ask draw on."""

import asyncio
import threading

import pytest

from api.query import turns as turns_module
from api.query.turns import ASKER, Turns
from api.refusals import Refusal


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_in_turn_by_asker() -> None:
    """An asker of three at once gets one, then the others one each, then its second."""
    order: list[str] = []

    async def ask(turns: Turns, asker: str, name: str) -> None:
        ASKER.set(asker)
        async with turns.turn():
            order.append(name)
            await asyncio.sleep(0)

    async def run() -> None:
        turns = Turns()
        names = [("greedy", "g1"), ("greedy", "g2"), ("greedy", "g3"), ("b", "b1"), ("c", "c1"), ("b", "b2")]
        await asyncio.gather(*(asyncio.create_task(ask(turns, *one)) for one in names))
        assert turns._free == 1

    asyncio.run(run())
    assert order == ["g1", "g2", "b1", "c1", "g3", "b2"]


def test_who_is_cancelled_takes_no_turn() -> None:
    """A question that is cancelled takes no turn, neither while it waits nor when the turn has just come: the next has
    it."""

    async def run() -> None:
        turns = Turns()
        reached: list[str] = []

        async def ask(name: str) -> None:
            async with turns.turn():
                reached.append(name)

        async with turns.turn():
            waiting = [asyncio.create_task(ask(name)) for name in ("a", "b", "c")]
            await settle()
            waiting[0].cancel()
        waiting[1].cancel()  # its turn has come, and it has not gone on yet
        await asyncio.gather(*waiting, return_exceptions=True)
        assert reached == ["c"]
        assert turns._free == 1

    asyncio.run(run())


def test_too_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last that may wait, and the first that is told to come back."""
    monkeypatch.setattr(turns_module, "WAITING_MAX", 2)

    async def run() -> None:
        turns = Turns()

        async def ask() -> None:
            async with turns.turn():
                pass

        async with turns.turn():
            waiting = [asyncio.create_task(ask()) for _ in range(2)]
            await settle()
            with pytest.raises(Refusal) as refused:
                await ask()
            assert (refused.value.status, refused.value.headers) == (503, {"Retry-After": "2"})
        await asyncio.gather(*waiting)

    asyncio.run(run())


def test_memory_is_given_back() -> None:
    """All of it can be had by one, a byte more by nobody, and afterwards all of it again."""
    turns = Turns(rows_bytes_max=10)
    for _ in range(2):
        with turns.rows() as rows, turns.rows() as others:
            rows.add(4)
            others.add(6)
            with pytest.raises(Refusal, match="no memory"):
                rows.add(1)


def test_aside() -> None:
    """The event loop goes on while something is made."""

    async def run() -> None:
        turns = Turns()
        loop_went_on = threading.Event()
        made = asyncio.create_task(turns.aside(lambda: loop_went_on.wait(60)))
        await asyncio.sleep(0)
        loop_went_on.set()
        assert await made

    asyncio.run(run())
