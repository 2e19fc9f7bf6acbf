"""moto's server of S3's protocol as a program that keeps what it has taken, so that it may be killed at any moment.

`python -m tests.servers.s3_process PORT DIRECTORY`. What has changed something is in a journal before it is answered,
and done again at the next start. The file `next_put` in the directory, JSON, says what happens at the next object that
is put, once: `{"kill": <process id>, "when": "before"}`, before it is kept, or `"after"`, when it is not yet answered.
"""

import json
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import run_simple

from aggregator.layout.moved import OWNER
from callmeter.local.loopback_port import LOOPBACK

JOURNAL, ORDER = "journal", "next_put"
CHANGING = ("PUT", "POST", "DELETE")

StartResponse = Callable[..., Any]


class KeptObjects:
    """A WSGI application around moto's, which holds all in memory."""

    def __init__(self, directory: Path) -> None:
        self._application: Any = DomainDispatcherApplication(create_backend_app)
        self._turn = threading.Lock()  # the journal is in the order in which it was done
        self._order = directory / ORDER
        path = directory / JOURNAL
        if path.exists():
            self._do_again(path)
        self._journal = path.open("ab")

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request."""
        if environ["REQUEST_METHOD"] not in CHANGING:
            answer: Iterable[bytes] = self._application(environ, start_response)
            return answer
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        with self._turn:
            is_put = environ["REQUEST_METHOD"] == "PUT" and environ["PATH_INFO"].count("/") > 1
            if is_put and not environ["PATH_INFO"].endswith(OWNER):
                self._obey("before")
            begun, content = self._do(environ, body)
            if begun[0].startswith("2"):
                request = {name: value for name, value in environ.items() if isinstance(value, str)}
                self._journal.write(pickle.dumps((request, body)))
                self._journal.flush()
            if is_put:
                self._obey("after")
        start_response(*begun)
        return [content]

    def _do_again(self, path: Path) -> None:
        """Do what the journal says; what is torn at its end was never answered, and is cut off."""
        with path.open("r+b") as journal, suppress(EOFError, pickle.UnpicklingError):
            while True:
                whole = journal.tell()
                try:
                    request, body = pickle.load(journal)
                except Exception:
                    journal.truncate(whole)
                    raise EOFError from None
                self._do(request | {"wsgi.url_scheme": "http", "wsgi.errors": sys.stderr}, body)

    def _do(self, environ: dict[str, Any], body: bytes) -> tuple[list[Any], bytes]:
        begun: list[Any] = []

        def start(*status_and_headers: Any) -> None:
            begun[:] = status_and_headers[:2]

        content = b"".join(self._application(environ | {"wsgi.input": BytesIO(body)}, start))
        return begun, content

    def _obey(self, when: str) -> None:
        """Kill whom the order names, if there is one for this moment."""
        try:
            order = json.loads(self._order.read_text())
        except FileNotFoundError:
            return
        if order["when"] == when:
            self._order.unlink()
            with suppress(ProcessLookupError):
                os.kill(order["kill"], signal.SIGKILL)


def main() -> None:
    """Answer until it is killed."""
    port, directory = int(sys.argv[1]), Path(sys.argv[2])
    run_simple(LOOPBACK, port, KeptObjects(directory), threaded=True, request_handler=MotoRequestHandler)


if __name__ == "__main__":
    main()
