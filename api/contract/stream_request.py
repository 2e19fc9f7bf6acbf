"""`GET /calls/stream` on the wire: its query parameters, and the body of the question that it asks again and again."""

from collections.abc import Mapping
from typing import Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from aggregator.timestamps import format_utc
from api.contract.relative_instants import MOMENT, asked_instant
from api.refusals import Loc, Problem, Refusal, invalid

STREAMED = ("/calls/stats", "/calls/breakdown", "/calls/examples")
# Instants of the others are relative where they are asked by themselves too.
_OF_ABSOLUTE_INSTANTS = "/calls/stats"


class CallStreamReq(BaseModel):
    """Which question is watched."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(description=f"The endpoint that answers the question: {', '.join(STREAMED)}.")
    question: str = Field(
        description="The endpoint's body as JSON. `start` and `end` may be relative, even for `/calls/stats`."
    )


class StreamedQuestion(BaseModel):
    """A path, and the JSON object that is asked of it."""

    path: str
    body: dict[str, Any]

    @property
    def key(self) -> str:
        """Return a key that is equal for equal questions."""
        return self.path + msgspec.json.encode(self.body, order="sorted").decode()

    def body_at(self, now_us: int) -> bytes:
        """The body to ask at this moment. Raises Refusal for an instant that is none."""
        body = dict(self.body)
        if self.path == _OF_ABSOLUTE_INSTANTS:
            for edge in ("start", "end"):
                if edge == "end" or edge in body:
                    body[edge] = _resolved(edge, body.get(edge), now_us)
        return msgspec.json.encode(body)


def read_streamed_question(parameters: Mapping[str, str]) -> StreamedQuestion:
    """The question of a query string. Raises Refusal (422)."""
    try:
        request = CallStreamReq.model_validate_strings(dict(parameters))
    except ValidationError as wrong:
        raise invalid(wrong, "query") from None
    if request.path not in STREAMED:
        raise _invalid_at("path", f"Path should be one of {', '.join(STREAMED)}")
    try:
        body = msgspec.json.decode(request.question)
    except (msgspec.DecodeError, RecursionError):
        raise _invalid_at("question", "Question should be JSON") from None
    if not isinstance(body, dict):
        raise _invalid_at("question", "Question should be a JSON object")
    return StreamedQuestion(path=request.path, body=body)


def at_question(refusal: Refusal) -> Refusal:
    """A refusal of the question itself, with `loc` where it stands in the query string."""
    refusal.problems = [
        Problem(("query", "question", *problem.loc[1:]) if problem.loc[:1] == ("body",) else problem.loc, *problem[1:])
        for problem in refusal.problems
    ]
    return refusal


def _resolved(edge: str, value: object, now_us: int) -> object:
    """An instant as `/calls/stats` takes it; what is none is left to it to refuse."""
    if edge == "end" and value is None:
        return format_utc(MOMENT.as_end(now_us))
    try:
        instant = asked_instant(value)
    except PydanticCustomError:
        return value
    if not instant.is_relative:
        return value
    return format_utc(instant.as_start(now_us) if edge == "start" else instant.as_end(now_us))


def _invalid_at(parameter: str, sentence: str) -> Refusal:
    loc: Loc = ("query", parameter)
    return Refusal(422, loc, sentence, "value_error")
