"""`POST /calls/values` on the wire: the request, checked and turned into a ValuesQuestion, and the answer."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, StrictStr, ValidationError

from api.contract.field_types import InstantUs, WholeNumber
from api.contract.window_request import WindowReq, at_most, window
from api.query.values_answer import ValuesQuestion
from api.refusals import invalid

# A list to choose from; beyond that it is searched by prefix.
VALUES_MAX = 1_000
VALUES_DEFAULT = 100

ValuesDimension = Literal["op_name", "model", "wb_user_id", "wb_run_id"]


class CallValuesReq(WindowReq):
    """Request for the values that the calls of a window have: ops, models, users or runs, to choose filters from."""

    dimension: ValuesDimension
    prefix: StrictStr = Field(default="", description="Only values that begin with this.")
    limit: Annotated[WholeNumber, at_most(VALUES_MAX)] = Field(
        default=VALUES_DEFAULT, description="How many values the answer has, 1 to 1,000."
    )


class CountedValue(BaseModel):
    """A value, and how many calls have it."""

    value: str
    count: int = Field(description="Number of calls with this value; of a model, calls that used it")


class CallValuesRes(BaseModel):
    """Values by how many calls have them, most first, equal ones by name."""

    start: InstantUs = Field(description="Resolved start (UTC)")
    end: InstantUs = Field(description="Resolved end (UTC)")
    dimension: ValuesDimension
    values: list[CountedValue]
    more: bool = Field(description="Whether there are more values that begin with `prefix`")


def read_values_question(body: bytes, now_us: int) -> ValuesQuestion:
    """The question that the JSON `body` asks at `now_us`. Raises Refusal (422) for a body that asks none."""
    try:
        request = CallValuesReq.model_validate_json(body)
    except ValidationError as wrong:
        raise invalid(wrong) from None
    start_us, end_us = window(request.start, request.end, now_us)
    return ValuesQuestion(request.project_id, start_us, end_us, request.dimension, request.prefix, request.limit)
