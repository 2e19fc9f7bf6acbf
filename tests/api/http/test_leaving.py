"""A client that leaves while its question is answered: the work is given up, and nobody else's."""

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.types import Message

from api.http import leaving
from api.http.leaving import unless_client_leaves
from api.refusals import Refusal


def test_the_work_is_given_up(monkeypatch: Any) -> None:
    """Work is given up as soon as its client has left; a client that stays gets the answer, however late."""
    monkeypatch.setattr(leaving, "LOOK_AFTER_S", 0.001)

    async def run(leaves: bool) -> tuple[str, bool]:
        left, ended = asyncio.Event(), asyncio.Event()

        async def receive() -> Message:
            await left.wait()
            return {"type": "http.disconnect"}

        async def work() -> str:
            try:
                await asyncio.sleep(60 if leaves else 0.05)
                return "answer"
            finally:
                ended.set()

        request = Request({"type": "http", "method": "POST", "headers": []}, receive)
        asked = asyncio.create_task(unless_client_leaves(request, work()))
        await asyncio.sleep(0.01)
        if leaves:
            left.set()
        try:
            answer = await asked
        except Refusal as refused:
            answer = str(refused)
        await asyncio.sleep(0)
        return answer, ended.is_set()

    assert asyncio.run(run(leaves=True)) == ("The client went away.", True)
    assert asyncio.run(run(leaves=False)) == ("answer", True)
