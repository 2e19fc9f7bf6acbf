"""An app's requests are counted by endpoint and status, in a bounded number of series."""

import asyncio
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from callmeter.metrics.request_metrics import ENDPOINTS, OTHER, MeasuredApp, endpoint_of
from callmeter.metrics.shared_values import sharing_values
from tests.support.paths import ROOT


async def told(request: Request) -> Response:
    """An answer that is a refusal where it is asked to be."""
    return PlainTextResponse("", 422 if request.query_params else 200)


def ask(*paths: str) -> str:
    """The metrics after these requests."""
    return _ask(MeasuredApp(Starlette(routes=[Route("/calls/stats", told)]), "api"), *paths)


def _ask(app: MeasuredApp, *paths: str) -> str:
    async def asked() -> str:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://x") as client:
            for path in paths:
                await client.get(path)
            answer = await client.get("/metrics")
            assert answer.headers["content-type"].startswith("text/plain")
            return answer.text

    return asyncio.run(asked())


def test_requests_are_counted() -> None:
    """Each request is counted with its status; a scrape is none."""
    text = ask("/calls/stats", "/calls/stats", "/calls/stats?wrong=1", "/metrics")
    assert 'callmeter_http_answers_total{component="api",endpoint="/calls/stats",status="200"} 2.0' in text
    assert 'callmeter_http_answers_total{component="api",endpoint="/calls/stats",status="422"} 1.0' in text
    assert 'callmeter_http_answer_seconds_count{component="api",endpoint="/calls/stats"} 3.0' in text
    assert "/metrics" not in text


def test_series_stay_bounded() -> None:
    """Ten thousand paths that nobody knows are one endpoint."""
    text = ask(*(f"/nothing/{number}" for number in range(1_000)))
    assert text.count("callmeter_http_answers_total{") == 1
    assert f'endpoint="{OTHER}",status="404"}} 1000.0' in text


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/calls/stats", "/calls/stats"),
        ("/v2/acme/agents/calls/complete", "/v2/{entity}/{project}/..."),
        ("/prometheus/api/v1/label/op_name/values", "/prometheus/api/v1/label/{name}/values"),
        ("/calls/stats/", OTHER),
    ],
)
def test_endpoints(path: str, endpoint: str) -> None:
    """Names in a path are no endpoints of their own."""
    assert endpoint_of(path) == endpoint
    assert endpoint in ENDPOINTS or "{" in endpoint or endpoint == OTHER


def test_processes_that_share() -> None:
    """A third process tells what each of two counted."""
    with sharing_values() as directory:
        for _ in range(2):
            subprocess.run([sys.executable, "-m", __name__, str(directory)], check=True, timeout=60, cwd=ROOT)
        text = _ask(MeasuredApp(Starlette(), "api", directory))
    assert 'callmeter_http_answers_total{component="api",endpoint="/calls/stats",status="200"} 2.0' in text


if __name__ == "__main__":
    _ask(MeasuredApp(Starlette(routes=[Route("/calls/stats", told)]), "api", Path(sys.argv[1])), "/calls/stats")
