"""Reading a request's body within its limits of size and time."""

import asyncio

import msgspec
from starlette.requests import ClientDisconnect, Request

from api.http.admission import Admission
from api.refusals import Refusal


class BodyLimits(msgspec.Struct, frozen=True):
    """What a body may cost."""

    # A thousand values in each list of a filter fit; the law's number.
    bytes_max: int = 2**20
    # 1 MiB over a bad phone line takes less; whoever is slower holds a connection for nothing.
    wait_s_max: float = 10
    # What of each body always has room, so that large bodies that come slowly keep no dashboard waiting. Times 10,000
    # connections it is 160 MB.
    small_bytes_max: int = 16 * 2**10
    # What large bodies may have in memory beyond that, all together, while they come.
    large_bytes_max: int = 256 * 2**20


async def read_body(request: Request, limits: BodyLimits, admission: Admission) -> bytes:
    """The whole body. `room`: that of large bodies, in bytes.

    Raises Refusal: 413 as soon as it is known to be too large, 408 when it takes too long, 503 where there is no room.
    """
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and len(announced) > len(str(limits.bytes_max)):
        raise _too_large(limits.bytes_max)  # decided without int(), which refuses thousands of digits
    if announced.isdecimal() and int(announced) > limits.bytes_max:
        raise _too_large(limits.bytes_max)
    try:
        async with asyncio.timeout(limits.wait_s_max):
            return await _read(request, limits, admission)
    except TimeoutError:
        sentence = f"The body did not arrive within {limits.wait_s_max:g} seconds."
        raise Refusal(408, ("body",), sentence, "timeout") from None
    except ClientDisconnect:
        raise Refusal(400, ("body",), "The client went away.", "disconnect") from None


async def _read(request: Request, limits: BodyLimits, admission: Admission) -> bytes:
    body = bytearray()
    taken = 0
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limits.bytes_max:
                raise _too_large(limits.bytes_max)
            more = len(body) - limits.small_bytes_max - taken
            if more > 0:
                admission.take(more)
                taken += more
        return bytes(body)
    finally:
        admission.give_back(taken)


def _too_large(bytes_max: int) -> Refusal:
    return Refusal(413, ("body",), f"The body is larger than {bytes_max} bytes.", "too_large")
