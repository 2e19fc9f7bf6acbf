"""Many clients at once, in a process of their own, so that what they wait for is the api and not each other.

`python -m bench.crowd` reads a Crowd from standard input, as JSON, and writes the milliseconds of all requests.
"""

import asyncio
import subprocess
import sys
import time

import msgspec
import uvloop

ENDING_S_MAX = 120.0


class Crowd(msgspec.Struct):
    """A client for each of `bodies` posts it to `host:port` + `path` for a while, again when it has its answer."""

    address: str
    path: str
    bodies: list[bytes]
    for_s: float


def time_crowd(address: str, path: str, bodies: list[bytes], for_s: float) -> list[float]:
    """Milliseconds of every request of the crowd. Raises CalledProcessError where one was not answered."""
    asked = msgspec.json.encode(Crowd(address, path, bodies, for_s))
    done = subprocess.run(
        [sys.executable, "-m", "bench.crowd"],
        input=asked,
        stdout=subprocess.PIPE,
        timeout=for_s + ENDING_S_MAX,
        check=True,
    )
    return msgspec.json.decode(done.stdout, type=list[float])


async def _all(crowd: Crowd) -> list[float]:
    taken: list[float] = []
    host, _, port = crowd.address.rpartition(":")
    streams = [await asyncio.open_connection(host, int(port)) for _ in crowd.bodies]
    until_s = time.perf_counter() + crowd.for_s
    await asyncio.gather(
        *(
            _client(reader, writer, _request(crowd, body), until_s, taken)
            for (reader, writer), body in zip(streams, crowd.bodies, strict=True)
        )
    )
    return taken


async def _client(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes, until_s: float, taken: list[float]
) -> None:
    while (begun_s := time.perf_counter()) < until_s:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        status, *headers = head.lower().split(b"\r\n")
        [length] = [header.partition(b":")[2] for header in headers if header.startswith(b"content-length:")]
        answer = await reader.readexactly(int(length))
        if b" 200 " not in status:
            raise RuntimeError(f"answered {status!r}: {answer[:300]!r}")
        taken.append((time.perf_counter() - begun_s) * 1000)
    writer.close()


def _request(crowd: Crowd, body: bytes) -> bytes:
    head = f"POST {crowd.path} HTTP/1.1\r\nhost: {crowd.address}\r\ncontent-type: application/json\r\n"
    return f"{head}content-length: {len(body)}\r\n\r\n".encode() + body


if __name__ == "__main__":
    asked_for = msgspec.json.decode(sys.stdin.buffer.read(), type=Crowd)
    sys.stdout.buffer.write(msgspec.json.encode(uvloop.run(_all(asked_for))))
