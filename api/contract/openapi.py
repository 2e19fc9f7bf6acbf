"""The OpenAPI 3.1 document: the contract's two endpoints, from the models that check them, and what we add."""

from functools import cache
from importlib.metadata import version
from typing import Any

from pydantic import BaseModel, Field
from pydantic.json_schema import models_json_schema

from api.contract.breakdown_request import CallBreakdownReq, CallBreakdownRes
from api.contract.bucket_schemas import bucket_schemas
from api.contract.examples_request import CallExamplesReq, CallExamplesRes
from api.contract.field_types import ContractSchema
from api.contract.projects_request import ProjectsReq, ProjectsRes
from api.contract.stats_request import CallStatsReq, CallStatsRes
from api.contract.stream_request import CallStreamReq
from api.contract.trace_usage_request import TraceUsageReq, TraceUsageRes
from api.contract.usage_request import CallsUsageReq, CallsUsageRes
from api.contract.values_request import CallValuesReq, CallValuesRes

JsonObject = dict[str, Any]

_ABOUT = """What LLM calls cost, how long they took and how often they failed.

Refused requests answer with `{"detail": ...}`: a list of problems for 422, one sentence for every other status.
Unknown paths answer 404, known paths asked with another method 405."""


class ValidationError(BaseModel):
    # Without a docstring: the contract has no description here, nor below.
    loc: list[str | int] = Field(title="Location")
    msg: str = Field(title="Message")
    type: str = Field(title="Error Type")


class HTTPValidationError(BaseModel):
    detail: list[ValidationError] = Field(default_factory=list)


class Sentence(BaseModel):
    """Why a request got no answer."""

    detail: str


@cache
def openapi_document() -> JsonObject:
    """The whole document, ready to be encoded; callers leave it as it is."""
    return {
        "openapi": "3.1.0",
        "info": {"title": "callmeter", "version": version("callmeter"), "description": _ABOUT},
        "servers": [],
        "security": [],
        "paths": {
            "/calls/stats": {"post": _stats_operation()},
            "/calls/usage": {"post": _usage_operation()},
            "/trace/usage": {"post": _trace_usage_operation()},
            "/calls/breakdown": {"post": _breakdown_operation()},
            "/calls/values": {"post": _values_operation()},
            "/calls/examples": {"post": _examples_operation()},
            "/calls/stream": {"get": _stream_operation()},
            "/projects": {"get": _projects_operation()},
            "/health": {"get": _probe("health", "The process is alive.")},
            "/ready": {"get": _probe("ready", "The process is alive and its Redis can answer.", away=True)},
        },
        "components": {"schemas": _schemas(), "securitySchemes": {"HTTPBasic": {"type": "http", "scheme": "basic"}}},
    }


def _schemas() -> JsonObject:
    models = (
        *(CallStatsReq, CallStatsRes, CallsUsageReq, CallsUsageRes),
        *(
            CallBreakdownReq,
            CallBreakdownRes,
            CallValuesReq,
            CallValuesRes,
            CallExamplesReq,
            CallExamplesRes,
            ProjectsRes,
        ),
        *(TraceUsageReq, TraceUsageRes),
        *(HTTPValidationError, Sentence),
    )
    _, schemas = models_json_schema(
        [(model, "validation") for model in models],
        ref_template="#/components/schemas/{model}",
        schema_generator=ContractSchema,
    )
    definitions: JsonObject = schemas["$defs"]
    return definitions | bucket_schemas()


def _stats_operation() -> JsonObject:
    return _question("CallStatsReq", "CallStatsRes") | {
        "summary": "Call Stats",
        "description": "Calls, latency, errors, tokens and cost of a window of time, in buckets that follow the local "
        "clock of `timezone`. At most 1,000 values per filter list and 100 metrics per list. Rows of `call_buckets` "
        "are `CallStatsCallBucket`, rows of `usage_buckets` are `CallStatsUsageBucket`, of the schemas here.",
        "operationId": "call_stats_calls_stats_post",
    }


def _usage_operation() -> JsonObject:
    found = _question("CallsUsageReq", "CallsUsageRes") | {
        "summary": "Calls Usage",
        "description": "Compute aggregated usage for multiple root calls, with descendant rollup.",
        "operationId": "calls_usage_calls_usage_post",
    }
    found["responses"]["200"]["headers"] |= _INCOMPLETE
    return found


def _trace_usage_operation() -> JsonObject:
    found = _question("TraceUsageReq", "TraceUsageRes") | {
        "summary": "Trace Usage",
        "description": "The usage of every call that a filter selects, each with that of all its descendants.",
        "operationId": "trace_usage_trace_usage_post",
    }
    found["responses"]["200"]["headers"] |= _INCOMPLETE
    return found


def _breakdown_operation() -> JsonObject:
    return _question("CallBreakdownReq", "CallBreakdownRes") | {
        "summary": "Calls by the values of one dimension",
        "description": "The calls of a window by op, model, user, run, or trace roots and others: the first rows of an "
        "order, all others as one, and the same of the window before. Instants may be relative: `-24h`, `now`.",
        "operationId": "call_breakdown_calls_breakdown_post",
    }


def _values_operation() -> JsonObject:
    return _question("CallValuesReq", "CallValuesRes") | {
        "summary": "Values that calls have",
        "description": "The ops, models, users or runs of a window's calls, by how many calls have them: to choose "
        "filters from. Instants may be relative: `-24h`, `now`.",
        "operationId": "call_values_calls_values_post",
    }


def _examples_operation() -> JsonObject:
    return _question("CallExamplesReq", "CallExamplesRes") | {
        "summary": "Single calls",
        "description": "The newest, failing, slowest or dearest calls of a window that a filter lets through, as far "
        "back as call records are kept. Instants may be relative: `-24h`, `now`.",
        "operationId": "call_examples_calls_examples_post",
    }


def _stream_operation() -> JsonObject:
    found = _asked_by_get(CallStreamReq, {"text/event-stream": {"schema": {"type": "string"}}})
    return found | {
        "tags": ["Calls"],
        "summary": "Answers as they change",
        "description": "Server-sent events: `event: answer` with the whole answer in one line of `data`, at once and "
        "whenever it has changed, at most once a second; its `id` is the instant it is as of. A comment each 15 "
        "seconds is a sign of life. `event: refused` says why there will be no answer any more.",
        "operationId": "call_stream_calls_stream_get",
    }


def _projects_operation() -> JsonObject:
    found = _asked_by_get(ProjectsReq, _json("ProjectsRes"))
    del found["responses"]["200"]["headers"], found["responses"]["403"]
    return found | {
        "tags": ["Projects"],
        "summary": "Projects that the key may read",
        "description": "The projects whose events have been applied, by name, each with how fresh it is.",
        "operationId": "projects_projects_get",
    }


def _asked_by_get(parameters: type[BaseModel], content: JsonObject) -> JsonObject:
    """An operation whose question is its query string."""
    found = _question("", "")
    responses = found["responses"] | {"405": _refusal("Another method than GET")}
    responses["200"] = responses["200"] | {"content": content}
    schema = parameters.model_json_schema()
    return {
        "responses": {status: response for status, response in responses.items() if status not in ("408", "413")},
        "security": found["security"],
        "parameters": [
            {"name": name, "in": "query", "schema": of_name, "required": name in schema.get("required", ())}
            for name, of_name in schema["properties"].items()
        ],
    }


def _question(request: str, answer: str) -> JsonObject:
    """Return what both endpoints have in common."""
    return {
        "tags": ["Calls"],
        "requestBody": {"content": _json(request), "required": True},
        "responses": {
            "200": {
                "description": "Successful Response",
                "content": _json(answer),
                "headers": {"X-Data-As-Of": _AS_OF, "X-Data-Lag-Seconds": _LAG, "X-Project-Known": _KNOWN},
            },
            "401": _refusal("No key, or none that is known", {"WWW-Authenticate": _header("Always `Basic`.")}),
            "403": _refusal("The key may not read this project"),
            "405": _refusal("Another method than POST"),
            "408": _refusal("The body did not arrive in time"),
            "413": _refusal("The body is over 1 MiB, or more calls are asked than `limit`"),
            "422": {"description": "Validation Error", "content": _json("HTTPValidationError")},
            "500": _refusal("A mistake of ours; it is in the log"),
            "503": _away(),
        },
        "security": [{"HTTPBasic": []}],
    }


def _probe(name: str, description: str, away: bool = False) -> JsonObject:
    answer = {"type": "object", "properties": {"status": {"const": "ok"}}, "required": ["status"]}
    responses: JsonObject = {
        "200": {"description": "The process is alive, or ready", "content": {"application/json": {"schema": answer}}},
        "405": _refusal("Another method than GET"),
    }
    if away:
        responses |= {"500": _refusal("A mistake of ours; it is in the log"), "503": _away()}
    return {
        "tags": ["Operations"],
        "summary": name.title(),
        "description": description,
        "operationId": f"{name}_{name}_get",
        "responses": responses,
    }


def _json(schema: str) -> JsonObject:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _refusal(description: str, headers: JsonObject | None = None) -> JsonObject:
    response: JsonObject = {"description": description, "content": _json("Sentence")}
    return response | {"headers": headers} if headers else response


def _away() -> JsonObject:
    return _refusal("Redis is away; retry", {"Retry-After": _header("Seconds to wait.", "integer")})


def _header(description: str, json_type: str = "string") -> JsonObject:
    return {"description": description, "schema": {"type": json_type}}


_AS_OF: JsonObject = {
    "description": "UTC instant through which events have been applied; absent before the first.",
    "schema": {"type": "string", "format": "date-time"},
}
_LAG: JsonObject = _header("Seconds from that instant to the answer; absent before the first event.", "number")
_KNOWN: JsonObject = {
    "description": "Whether any event of the project has been applied: `false` for a name that was mistyped.",
    "schema": {"type": "string", "enum": ["true", "false"]},
}
_INCOMPLETE: JsonObject = {
    "X-Incomplete-Calls": _header(
        "How many of the answered calls have calls of their trace in other partitions, too, so that what is below them "
        "may not all be counted. Absent where there are none.",
        "integer",
    ),
    "X-Incomplete-Call-Ids": _header("The first 50 of their ids, percent-encoded, with commas between them."),
}
