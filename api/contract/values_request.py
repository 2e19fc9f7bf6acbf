"""`POST /calls/values` on the wire: the request, checked and turned into a ValuesQuestion, and the answer."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictStr, ValidationError
from pydantic_core import PydanticCustomError

from api.contract.breakdown_request import window
from api.contract.field_types import InstantUs, WholeNumber
from api.contract.relative_instants import Instant
from api.query.values_answer import ValuesQuestion
from api.refusals import invalid

# A list to choose from; beyond that it is searched by prefix.
VALUES_MAX = 1_000
VALUES_DEFAULT = 100

ValuesDimension = Literal["op_name", "model", "wb_user_id", "wb_run_id"]


def _limit(limit: int) -> int:
    if not 1 <= limit <= VALUES_MAX:
        raise PydanticCustomError("limit", f"Limit should be from 1 to {VALUES_MAX}")
    return limit


class CallValuesReq(BaseModel):
    """Request for the values that the calls of a window have: ops, models, users or runs, to choose filters from."""

    model_config = ConfigDict(extra="forbid")

    project_id: StrictStr
    start: Instant = Field(description="Inclusive start: an instant, or relative to now (`-24h`): then a whole minute.")
    end: Instant | None = Field(
        default=None,
        description="Exclusive end, written as `start` is; a relative one is a whole minute. Default: `now`.",
    )
    dimension: ValuesDimension
    prefix: StrictStr = Field(default="", description="Only values that begin with this.")
    limit: Annotated[WholeNumber, AfterValidator(_limit)] = Field(
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
