"""Clients that leave: what they asked is given up, so that nobody works for nobody."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from starlette.requests import Request

from api.refusals import Refusal

Answer = TypeVar("Answer")

# Most answers are there sooner; only for later ones is looked whether the client still waits.
LOOK_AFTER_S = 0.1


async def unless_client_leaves(request: Request, answering: Awaitable[Answer]) -> Answer:
    """The answer; or, if the client leaves first, a Refusal that nobody reads: then `answering` is cancelled.

    To be called when the body has been read.
    """
    work = asyncio.ensure_future(answering)
    leaving: asyncio.Future[None] | None = None
    try:
        done, _ = await asyncio.wait({work}, timeout=LOOK_AFTER_S)
        if not done:
            leaving = asyncio.ensure_future(_has_left(request))
            await asyncio.wait({work, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            raise Refusal(400, (), "The client went away.", "disconnect")
        return work.result()
    finally:
        if leaving is not None:
            leaving.cancel()
        if not work.done():
            work.cancel()


async def _has_left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
