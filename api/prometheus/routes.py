"""The paths of the Prometheus query API under /prometheus/api/v1, by GET and by form, as Grafana asks them."""

import logging
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from importlib.metadata import version
from typing import Any
from urllib.parse import parse_qsl

import msgspec
import promql_parser as promql
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from aggregator.time_units import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from aggregator.timestamps import parse_timestamp_us
from api.prometheus.bad_query import BadQuery
from api.prometheus.evaluation import Evaluation, Steps, check_points, parse, range_steps
from api.prometheus.exemplars import exemplars
from api.prometheus.listing import Listed, cut, first, label_names, label_values, metadata, series
from api.prometheus.query_loop import QueryLoop
from api.prometheus.rules import alerts_of, rule_groups
from api.prometheus.store_numbers import StoreNumbers
from api.prometheus.vectors import Series, Values, Vector

log = logging.getLogger(__name__)

BASE = "/prometheus/api/v1"
# A query of the longest kind, with its parameters.
FORM_BYTES_MAX = 64 * 1024
# No part has more digits than a number of 64 bits.
_DURATION = re.compile("".join(rf"(?:([0-9]{{1,19}}){unit})?" for unit in ("y", "w", "d", "h", "m", "s", "ms")))
_DURATION_US = (
    365 * DAY_US,
    7 * DAY_US,
    DAY_US,
    HOUR_US,
    MINUTE_US,
    SECOND_US,
    1_000,
)

Parameters = list[tuple[str, str]]
OpenNumbers = Callable[[Request], Awaitable[StoreNumbers]]
"""Gives the numbers that whoever asks may read. Raises what the api's access raises."""
Guard = Callable[[Callable[[Request], Awaitable[Response]]], Callable[[Request], Awaitable[Response]]]
Respond = Callable[[StoreNumbers, Parameters, int], Awaitable[Any]]


def prometheus_routes(
    open_numbers: OpenNumbers, clock: Callable[[], int], guarded: Guard, query_loop: QueryLoop
) -> list[Route]:
    """The routes. `clock`: microseconds since 1970; `guarded` answers for what goes wrong beside the query.

    `query_loop`: what the numbers are read and worked out in.
    """
    answers: dict[str, Respond] = {
        "/query": _query,
        "/query_range": _query_range,
        "/query_exemplars": _query_exemplars,
        "/labels": _labels,
        "/series": _series,
        "/metadata": _metadata,
        "/status/buildinfo": _build,
        "/rules": _rules,
        "/alerts": _alerts,
    }

    def endpoint(respond: Respond) -> Callable[[Request], Awaitable[Response]]:
        async def answer(request: Request) -> Response:
            numbers = await open_numbers(request)
            now_us = clock()

            async def work_out(parameters: Parameters) -> Response:
                return _success(await respond(numbers, parameters, now_us))

            try:
                parameters = await _parameters(request)
                return await query_loop.run(partial(work_out, parameters))
            except BadQuery as bad:
                return _error(bad)

        return guarded(answer)

    async def values(numbers: StoreNumbers, parameters: Parameters, now_us: int) -> Any:
        given = dict(parameters)
        found = await label_values(numbers, given["label name"], *_window(parameters, now_us), _matches(parameters))
        return cut(found, given.get("limit"))

    routes = [Route(BASE + path, endpoint(respond), methods=["GET", "POST"]) for path, respond in answers.items()]
    return [*routes, Route(BASE + "/label/{name}/values", endpoint(values), methods=["GET"])]


async def _parameters(request: Request) -> Parameters:
    found = list(request.query_params.multi_items())
    if request.method == "POST":
        body = b""
        async for piece in request.stream():
            body += piece
            if len(body) > FORM_BYTES_MAX:
                raise BadQuery(f"the form has more than {FORM_BYTES_MAX:,} bytes", status=413)
        found += parse_qsl(body.decode(errors="replace"), keep_blank_values=True)
    if "name" in request.path_params:
        found.append(("label name", request.path_params["name"]))
    return found


async def _query(numbers: StoreNumbers, parameters: Parameters, now_us: int) -> Any:
    given = dict(parameters)
    at_us = _instant(given, "time", now_us)
    expression = parse(_required(given, "query"))
    if isinstance(expression, promql.StringLiteral):
        return {"resultType": "string", "result": [at_us / SECOND_US, expression.val]}
    result = await Evaluation(numbers, numbers.origin_us).value(expression, Steps((at_us,)))
    if isinstance(result, list):
        return {"resultType": "vector", "result": [_instant_row(one, at_us) for one in _present(result)]}
    return {"resultType": "scalar", "result": [at_us / SECOND_US, _number(result[0])]}


async def _query_range(numbers: StoreNumbers, parameters: Parameters, now_us: int) -> Any:
    given = dict(parameters)
    start_us, end_us = (_instant(given, name, None) for name in ("start", "end"))
    steps = range_steps(start_us, end_us, _duration_us(_required(given, "step"), "step"))
    expression = parse(_required(given, "query"))
    result = await Evaluation(numbers, numbers.origin_us).value(expression, steps)
    found = _present(result if isinstance(result, list) else [Series((), result)])
    check_points(found, steps)
    return {"resultType": "matrix", "result": [_range_row(one, steps) for one in found]}


async def _labels(numbers: StoreNumbers, parameters: Parameters, now_us: int) -> Any:
    return cut(label_names(), dict(parameters).get("limit"))


async def _series(numbers: StoreNumbers, parameters: Parameters, now_us: int) -> Any:
    matches = _matches(parameters)
    if not matches:
        raise BadQuery("no match[] parameter provided")
    found = await series(numbers, *_window(parameters, now_us), matches)
    return first(found, dict(parameters).get("limit"))


async def _metadata(numbers: StoreNumbers, parameters: Parameters, now_us: int) -> Any:
    return metadata(dict(parameters).get("metric"))


async def _build(numbers: StoreNumbers, parameters: Parameters, now_us: int) -> Any:
    # Grafana reads which of Prometheus' endpoints are there from the version.
    return {
        "version": "2.53.0",
        "revision": version("callmeter"),
        "branch": "callmeter",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }


async def _query_exemplars(numbers: StoreNumbers, parameters: Parameters, now_us: int) -> Any:
    expression = parse(_required(dict(parameters), "query"))
    return await exemplars(numbers, expression, *_window(parameters, now_us))


async def _rules(numbers: StoreNumbers, parameters: Parameters, now_us: int) -> Any:
    return rule_groups(*await numbers.shown_rules(), parameters)


async def _alerts(numbers: StoreNumbers, parameters: Parameters, now_us: int) -> Any:
    _, readable = await numbers.shown_rules()
    return alerts_of(readable)


def _present(vector: Vector) -> Vector:
    return [one for one in vector if not _all_absent(one.values)]


def _all_absent(values: Values) -> bool:
    return all(math.isnan(value) for value in values)


def _instant_row(one: Series, at_us: int) -> dict[str, Any]:
    return {"metric": dict(one.labels), "value": [at_us / SECOND_US, _number(one.values[0])]}


def _range_row(one: Series, steps: Steps) -> dict[str, Any]:
    pairs = zip(steps.at_us, one.values, strict=True)
    return {
        "metric": dict(one.labels),
        "values": [[at_us / SECOND_US, _number(value)] for at_us, value in pairs if not math.isnan(value)],
    }


def _number(value: float) -> str:
    """Write a number as Prometheus does: the shortest text that reads the same."""
    value = float(value)
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def _window(parameters: Parameters, now_us: int) -> tuple[int, int]:
    given = dict(parameters)
    end_us = _instant(given, "end", now_us)
    return _instant(given, "start", end_us - HOUR_US), end_us


def _matches(parameters: Parameters) -> list[Any]:
    selectors = [parse(value) for name, value in parameters if name == "match[]"]
    if not all(isinstance(one, promql.VectorSelector) for one in selectors):
        raise BadQuery('invalid parameter "match[]": a selector is expected')
    return selectors


def _required(given: Mapping[str, str], name: str) -> str:
    if not given.get(name):
        raise BadQuery(f'invalid parameter "{name}": it is missing')
    return given[name]


def _instant(given: Mapping[str, str], name: str, default: int | None) -> int:
    text = given.get(name)
    if not text:
        if default is None:
            raise BadQuery(f'invalid parameter "{name}": it is missing')
        return default
    try:
        return round(float(text) * SECOND_US)
    except (ValueError, OverflowError):
        try:
            return parse_timestamp_us(text)
        except ValueError:
            raise BadQuery(f'invalid parameter "{name}": cannot parse "{text[:100]}" to a valid timestamp') from None


def _duration_us(text: str, name: str) -> int:
    try:
        return round(float(text) * SECOND_US)
    except (ValueError, OverflowError):
        parts = _DURATION.fullmatch(text)
    if parts is None or not any(parts.groups()):
        raise BadQuery(f'invalid parameter "{name}": cannot parse "{text[:100]}" to a valid duration')
    return sum(int(count or 0) * unit for count, unit in zip(parts.groups(), _DURATION_US, strict=True))


def _success(data: Any) -> Response:
    body = {"status": "success", "data": data}
    if isinstance(data, Listed):
        body["data"] = data.values
        if data.is_cut:  # in Prometheus' own words
            body["warnings"] = ["results truncated due to limit"]
    return Response(_json(body), media_type="application/json")


def _json(value: Any) -> bytes:
    """Write JSON in steps, a long list entry by entry: one step keeps all threads from working, and may be 50 MB."""
    if isinstance(value, dict):
        return b"{" + b",".join(msgspec.json.encode(name) + b":" + _json(one) for name, one in value.items()) + b"}"
    if isinstance(value, list) and len(value) > 1:
        return b"[" + b",".join(map(msgspec.json.encode, value)) + b"]"
    return msgspec.json.encode(value)


def _error(bad: BadQuery) -> Response:
    body = {"status": "error", "errorType": bad.error_type, "error": bad.message}
    return Response(msgspec.json.encode(body), bad.status, media_type="application/json")
