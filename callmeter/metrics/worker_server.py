"""The worker's own small HTTP server: /metrics, /health, /ready; on a thread, so that folding does not wait for it."""

import json
import logging
from collections.abc import Callable, Iterable
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app

log = logging.getLogger(__name__)

Readiness = Callable[[], str | None]
"""Why the worker is not ready, in a sentence; None: it is."""


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    # Scrapers are few; a flood is refused by the system's queue.
    request_queue_size = 16


class _Quiet(WSGIRequestHandler):
    timeout = 10  # seconds for a request to arrive

    def log_message(self, *_: Any) -> None:
        """Say nothing: a scrape every few seconds is no event."""


def serve_metrics(host: str, port: int, registry: CollectorRegistry, why_unready: Readiness) -> WSGIServer:
    """Serve on a thread until `shutdown`. Raises OSError for the address."""
    metrics = make_wsgi_app(registry)

    def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/metrics":
            return metrics(environ, start_response)  # type: ignore[no-any-return, unused-ignore]
        why = why_unready() if path == "/ready" else None
        status, body = {
            "/health": ("200 OK", {"status": "ok"}),
            "/ready": ("503 Service Unavailable", {"status": "not ready", "why": why})
            if why
            else ("200 OK", {"status": "ok"}),
        }.get(path, ("404 Not Found", {"detail": "Not Found"}))
        start_response(status, [("Content-Type", "application/json")])
        return [json.dumps(body).encode()]

    server = make_server(host, port, app, _Server, _Quiet)
    Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    log.info("metrics", extra={"url": f"http://{host}:{server.server_port}/metrics"})
    return server
