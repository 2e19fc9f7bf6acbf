"""Reading a request's body within its limits of size and time."""

import asyncio

from starlette.requests import ClientDisconnect, Request

from api.refusals import Refusal


async def read_body(request: Request, bytes_max: int, wait_s_max: float) -> bytes:
    """The whole body. Raises Refusal: 413 as soon as it is known to be larger, 408 when it takes longer."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and len(announced) > len(str(bytes_max)):
        raise _too_large(bytes_max)  # decided without int(), which refuses thousands of digits
    if announced.isdecimal() and int(announced) > bytes_max:
        raise _too_large(bytes_max)
    try:
        async with asyncio.timeout(wait_s_max):
            return await _read(request, bytes_max)
    except TimeoutError:
        sentence = f"The body did not arrive within {wait_s_max:g} seconds."
        raise Refusal(408, ("body",), sentence, "timeout") from None
    except ClientDisconnect:
        raise Refusal(400, ("body",), "The client went away.", "disconnect") from None


async def _read(request: Request, bytes_max: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > bytes_max:
            raise _too_large(bytes_max)
    return bytes(body)


def _too_large(bytes_max: int) -> Refusal:
    return Refusal(413, ("body",), f"The body is larger than {bytes_max} bytes.", "too_large")
