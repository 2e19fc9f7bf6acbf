"""Requests that are refused: what went wrong, as exceptions with a status, and the JSON bodies that say so."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
from pydantic import ValidationError
from starlette.responses import Response

# A body of 1 MiB can hold a hundred thousand mistakes; nobody reads more than the first few.
PROBLEMS_MAX = 100

Loc = tuple[str | int, ...]


class Problem(NamedTuple):
    """One thing wrong with a request: `loc` leads to it from "body" down, `type` is its machine-readable kind."""

    loc: Loc
    msg: str
    type: str


class Refusal(Exception):
    """A request that gets no answer, with the HTTP status that says why. A 422 may name several problems."""

    def __init__(self, status: int, loc: Loc, msg: str, kind: str, *, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(msg)
        self.status = status
        self.problems: Sequence[Problem] = (Problem(loc, msg, kind),)
        self.headers = headers


class StoreAway(Exception):
    """Redis cannot be reached or its layout is not ours; the same request may succeed later."""


def invalid(wrong: ValidationError, part: str = "body") -> Refusal:
    """The 422 for a body (or "query") that its model refused: FastAPI's shape, with `loc` beginning at that part."""
    problems = [
        Problem((part, *problem["loc"]), problem["msg"], problem["type"])
        for problem in wrong.errors(include_url=False, include_input=False, include_context=False)[:PROBLEMS_MAX]
    ]
    refusal = Refusal(422, *problems[0])
    refusal.problems = problems
    return refusal


def invalid_at(loc: Loc, msg: str, kind: str = "value_error") -> Refusal:
    """A 422 for one problem that only shows once the body is read, such as a window that ends before it starts."""
    return Refusal(422, ("body", *loc), msg, kind)


def refusal_response(refusal: Refusal) -> Response:
    """A 422 lists its problems, as FastAPI does; every other status says one sentence: `{"detail": "..."}`."""
    if refusal.status == 422:
        return json_response(422, {"detail": [problem._asdict() for problem in refusal.problems]})
    return json_response(refusal.status, {"detail": refusal.problems[0].msg}, refusal.headers)


def away_response(retry_after_s: int) -> Response:
    """The 503 while Redis is away."""
    detail = "The store of rollups cannot be reached at the moment; please retry."
    return json_response(503, {"detail": detail}, {"Retry-After": str(retry_after_s)})


def json_response(status: int, body: object, headers: Mapping[str, str] | None = None) -> Response:
    """`body` as JSON."""
    return Response(msgspec.json.encode(body), status, headers, media_type="application/json")
