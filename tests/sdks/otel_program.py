"""Traces with OpenTelemetry's Python SDK and its OTLP exporter over HTTP: an agent whose usage repeats its model's."""

import json
import sys

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

AGENTS = 5
USAGE = {"gen_ai.usage.input_tokens": 10, "gen_ai.usage.output_tokens": 5}


def main(endpoint: str) -> None:
    """Agents that ask a model twice each and state the sum, and a tool that fails."""
    provider = TracerProvider(resource=Resource({"service.namespace": "ent", "service.name": "proj"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint)))
    tracer = trace.get_tracer("test", tracer_provider=provider)
    for _ in range(AGENTS):
        with tracer.start_as_current_span("invoke_agent") as agent:
            for _ in range(2):
                with tracer.start_as_current_span("chat gpt-4o") as chat:
                    chat.set_attributes({"gen_ai.operation.name": "chat", "gen_ai.request.model": "gpt-4o", **USAGE})
            doubled = {name: 2 * count for name, count in USAGE.items()}
            agent.set_attributes({"gen_ai.operation.name": "invoke_agent", "gen_ai.request.model": "gpt-4o", **doubled})
    with tracer.start_as_current_span("execute_tool") as tool:
        tool.set_status(trace.StatusCode.ERROR)
    provider.shutdown()
    sys.stdout.write(json.dumps({"calls": 3 * AGENTS + 1, "errors": 1, "leaves": 2 * AGENTS}) + "\n")


main(*sys.argv[1:])
