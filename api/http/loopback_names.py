"""Answering without access keys, on this machine only: a page in a browser here may not ask in its own name.

A foreign name can be made to lead to 127.0.0.1 (DNS rebinding); the browser then sends that name as `Host`, or that of
the page as `Origin`. Neither is a loopback name, whoever sends it.
"""

import ipaddress
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.refusals import json_response

_SENTENCE = "Without access keys only this machine may ask, by a loopback name such as 127.0.0.1 or localhost."


class LoopbackNamesOnly:
    """An ASGI app that answers 403 where `Host` or `Origin` is not a loopback name, and else as another app does."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _is_from_here(Headers(scope=scope)):
            await json_response(403, {"detail": _SENTENCE})(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _is_from_here(headers: Headers) -> bool:
    hosts = [f"//{host}" for host in headers.getlist("host")]
    return bool(hosts) and all(_is_loopback(url) for url in (*hosts, *headers.getlist("origin")))


def _is_loopback(url: str) -> bool:
    """Whether a URL's host is `localhost` or a loopback address; the origin `null` has neither."""
    try:
        host = urlsplit(url).hostname or ""
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
