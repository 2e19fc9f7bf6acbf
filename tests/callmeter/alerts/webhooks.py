"""A server that takes what alerts send: it remembers each request, and may refuse some first."""

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple


class Taken(NamedTuple):
    """A request that was taken: when (seconds since 1970), where to, its delivery id, its body."""

    at_s: float
    path: str
    delivery_id: str | None
    body: Any

    @property
    def told(self) -> tuple[str, str]:
        """Returns the group's op and the status that a webhook's body tells."""
        [alert] = self.body["alerts"]
        return alert["labels"].get("op_name", ""), alert["status"]


class WebhookServer:
    """A context manager. `refusals`: the statuses of the first answers, before it takes any."""

    def __init__(self, *refusals: int) -> None:
        self.taken: list[Taken] = []
        self.refused: list[Taken] = []
        self._refusals = list(refusals)
        self._lock = threading.Lock()
        outer = self

        class Answering(BaseHTTPRequestHandler):
            def do_POST(self) -> None:  # the name that http.server calls
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                status = outer._take(Taken(time.time(), self.path, self.headers.get("Idempotency-Key"), body))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @property
    def told(self) -> list[tuple[str, str]]:
        """Returns the op and status that webhooks' bodies told, in the order in which they came."""
        return [one.told for one in self.taken]

    def _take(self, request: Taken) -> int:
        with self._lock:
            if self._refusals:
                self.refused.append(request)
                return self._refusals.pop(0)
            self.taken.append(request)
            return 200

    def __enter__(self) -> "WebhookServer":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
