"""A test exporter: the series of some calls as a program would expose them to a Prometheus, with exemplars."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"


class ExportedCall(NamedTuple):
    """A call as the exporter counts it: a root, of an op and no user or run."""

    call_id: str
    op_name: str
    started_s: float
    latency_s: float
    failed: bool


def exposition(project: str, calls: Iterable[ExportedCall], bounds: Iterable[tuple[str, float]]) -> str:
    """OpenMetrics' text: calls, errors, and a histogram of latency with an exemplar in each bucket that has a call."""
    by_op: dict[str, list[ExportedCall]] = {}
    for call in calls:
        by_op.setdefault(call.op_name, []).append(call)
    labels = {op_name: f'op_name="{op_name}",project="{project}",root="true"' for op_name in by_op}
    lines = ["# HELP callmeter_calls Calls that started.", "# TYPE callmeter_calls counter"]
    lines += [f"callmeter_calls_total{{{labels[op]}}} {len(of_op)}" for op, of_op in by_op.items()]
    lines += ["# HELP callmeter_call_errors Calls that failed.", "# TYPE callmeter_call_errors counter"]
    failed = {op: [one for one in of_op if one.failed] for op, of_op in by_op.items()}
    lines += [
        f"callmeter_call_errors_total{{{labels[op]}}} {len(of_op)}{_exemplar(of_op[-1], 1)}"
        for op, of_op in failed.items()
        if of_op
    ]
    lines += ["# HELP callmeter_call_latency_seconds Latency.", "# TYPE callmeter_call_latency_seconds histogram"]
    for op, of_op in by_op.items():
        below = float("-inf")
        for text, bound in bounds:
            count = sum(one.latency_s <= bound for one in of_op)
            inside = [one for one in of_op if below < one.latency_s <= bound]
            exemplar = _exemplar(inside[-1], inside[-1].latency_s) if inside else ""
            lines.append(f'callmeter_call_latency_seconds_bucket{{{labels[op]},le="{text}"}} {count}{exemplar}')
            below = bound
        lines.append(f"callmeter_call_latency_seconds_sum{{{labels[op]}}} {sum(one.latency_s for one in of_op)}")
        lines.append(f"callmeter_call_latency_seconds_count{{{labels[op]}}} {len(of_op)}")
    return "\n".join([*lines, "# EOF", ""])


def _exemplar(call: ExportedCall, value: float) -> str:
    return f' # {{call_id="{call.call_id}",trace_id="trace"}} {value} {call.started_s:.3f}'


@contextmanager
def exporting(text: str) -> Iterator[int]:
    """Serves it; the port."""

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # the name that http.server calls
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answering)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
