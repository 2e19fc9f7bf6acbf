"""Puts questions to an api by the clients inside the `weave` package: JSON on stdin, typed answers as JSON on stdout.

A process of its own, since importing weave patches other packages, and so that it can be kept from leaving the machine.
"""

import asyncio
import inspect
import ipaddress
import json
import os
import sys
from collections.abc import Callable
from typing import Any


def keep_on_this_machine(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook that ends the process before it looks up a name or connects to another machine."""
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        host = arguments[1][0]
    else:
        return
    if not _is_loopback(host):
        sys.stderr.write(f"weave reached out to {host!r}\n")
        sys.stderr.flush()
        os._exit(1)  # an exception could be caught, or end a thread only


def _is_loopback(host: Any) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


sys.addaudithook(keep_on_this_machine)  # before the imports: these could reach out too

from weave.trace_server_bindings.remote_http_trace_server import RemoteHTTPTraceServer  # noqa: E402
from weave.vendor.weave_server_sdk import APIStatusError, AsyncClient, Client  # noqa: E402

Methods = dict[str, Callable[..., Any]]


def methods(url: str, client: str, key: str) -> Methods:
    """Returns by path the method of this client that asks it."""
    if client == "RemoteHTTPTraceServer":
        server: Any = RemoteHTTPTraceServer(url, password=key)
        return {
            "/calls/stats": lambda **request: server.call_stats(request),
            "/calls/usage": lambda **request: server.calls_usage(request),
        }
    generated = {"Client": Client, "AsyncClient": AsyncClient}[client]
    calls: Any = generated(base_url=url, username="api", password=key).calls
    return {"/calls/stats": calls.stats, "/calls/usage": calls.usage}


async def reply(ask: Callable[..., Any], request: dict[str, Any]) -> dict[str, Any]:
    """The type that the client made of the answer, or raised, and what is in it."""
    try:
        typed = ask(**request)
        if inspect.isawaitable(typed):
            typed = await typed
    except APIStatusError as refused:
        return {"type": type(refused).__name__, "status": refused.status_code, "answer": refused.body}
    # The client fills its types leniently; asked strictly, they tell whether every field is there and of its type.
    type(typed).model_validate(typed.model_dump(exclude_unset=True), strict=True)
    return {"type": type(typed).__name__, "status": 200, "answer": typed.to_dict(mode="json")}


async def main() -> None:
    """Turns `{"url", "questions": [{"client", "key", "path", "request"}]}` into a list of replies."""
    asked = json.load(sys.stdin)
    made: dict[tuple[str, str], Methods] = {}
    replies = []
    for question in asked["questions"]:
        asker = question["client"], question["key"]
        if asker not in made:
            made[asker] = methods(asked["url"], *asker)
        replies.append(await reply(made[asker][question["path"]], question["request"]))
    json.dump(replies, sys.stdout)


if __name__ == "__main__":
    asyncio.run(main())
