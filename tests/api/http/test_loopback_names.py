"""An api without access keys answers loopback names only, so that no page in a browser here can ask in its own."""

import pytest

from api.http.loopback_names import LoopbackNamesOnly
from tests.support.asking import FakeAnswers, app_of, ask

PATHS = ["/health", "/docs", "/calls/usage", "/nowhere"]


def status(host: str, origin: str | None = None, path: str = "/health") -> int:
    """Returns the status of a GET by this name."""
    headers = {"Host": host} | ({} if origin is None else {"Origin": origin})
    app = app_of(FakeAnswers())
    app.add_middleware(LoopbackNamesOnly)
    return ask(app, "GET", path, headers=headers).status_code


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "LOCALHOST", "127.0.0.1:80", "127.9.9.9", "[::1]:8080"]
)
def test_loopback_names(host: str) -> None:
    """Are answered, with an origin of this machine or none."""
    assert status(host) == 200
    assert status(host, "http://127.0.0.1:3000") == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1", "", "[", "a@b", "x:y:z"]
)
@pytest.mark.parametrize("path", PATHS)
def test_foreign_hosts(host: str, path: str) -> None:
    """Are refused, on every path."""
    assert status(host, path=path) == 403


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "", "http://localhost.evil.example:8080", "file://"])
def test_foreign_origins(origin: str) -> None:
    """Are refused by whatever name they ask."""
    assert status("127.0.0.1:8080", origin) == 403
