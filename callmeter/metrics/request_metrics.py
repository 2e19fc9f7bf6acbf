"""Metrics of an HTTP app: answers by endpoint and status, and how long they took; and /metrics beside the app.

Endpoints are the paths that are named here, all others are one: what clients ask for cannot make series without bound.
"""

import re
import time
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from callmeter.metrics.shared_values import registry_of_all

OTHER = "other"
# From a kept answer to one that takes all that may be read.
DURATION_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# Of paths with names in them, what stands for all of them.
_NAMED = re.compile(r"^/v2/[^/]+/[^/]+/|^/prometheus/api/v1/label/[^/]+/")
ENDPOINTS = frozenset(
    {
        *("/", "/health", "/ready", "/docs", "/openapi.json", "/projects", "/trace/usage"),
        *("/calls/stats", "/calls/usage", "/calls/breakdown", "/calls/values", "/calls/examples", "/calls/stream"),
        *(
            f"/prometheus/api/v1/{name}"
            for name in (
                *("query", "query_range", "query_exemplars", "labels", "series", "metadata"),
                *("rules", "alerts", "status/buildinfo"),
            )
        ),
        *("/call/start", "/call/end", "/call/upsert_batch", "/obj/create", "/file/create", "/graphql", "/server_info"),
        *("/v1/traces", "/otel/v1/traces", "/agents/otel/v1/traces", "/litellm"),
    }
)


class MeasuredApp:
    """An app with its requests counted, and its metrics at /metrics. `component`: `api`, `gateway`.

    `shared_values`: where processes that share an address keep what they count (see shared_values); None: it is alone.
    `registry`: what else this process tells of.
    """

    def __init__(
        self,
        app: ASGIApp,
        component: str,
        shared_values: Path | None = None,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._app = app
        self._shared_values = shared_values
        self._registry = registry or CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self._answers = Counter(
            "callmeter_http_answers",
            "Answers by endpoint and status.",
            ("component", "endpoint", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "callmeter_http_answer_seconds",
            "Seconds from a request to the end of its answer.",
            ("component", "endpoint"),
            buckets=DURATION_BOUNDS_S,
            registry=self._registry,
        )
        self._component = component

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer /metrics itself, and measure all else."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif scope["path"] == "/metrics" and scope["method"] in ("GET", "HEAD"):
            await self._tell(send)
        else:
            await self._measure(scope, receive, send)

    async def _measure(self, scope: Scope, receive: Receive, send: Send) -> None:
        endpoint, status, began = endpoint_of(scope["path"]), "none", time.perf_counter()

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, noting)
        finally:
            self._answers.labels(self._component, endpoint, status).inc()
            self._seconds.labels(self._component, endpoint).observe(time.perf_counter() - began)

    async def _tell(self, send: Send) -> None:
        shared = self._shared_values
        body = generate_latest(self._registry if shared is None else registry_of_all(shared))
        headers: Iterable[tuple[bytes, bytes]] = [(b"content-type", CONTENT_TYPE_LATEST.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def endpoint_of(path: str) -> str:
    """The endpoint of a path, of a bounded set."""
    if path in ENDPOINTS:
        return path
    named = _NAMED.match(path)
    if named is None:
        return OTHER
    return "/v2/{entity}/{project}/..." if path.startswith("/v2/") else "/prometheus/api/v1/label/{name}/values"
