"""`POST /calls/usage` on the wire: the request as its schema states it, checked and turned into a UsageQuestion."""

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictStr, ValidationError
from pydantic_core import PydanticCustomError

from api.contract.field_types import Strings, WholeNumber
from api.query.questions import UsageQuestion
from api.refusals import Refusal, invalid


def usage_limit(limit: int) -> int:
    """A limit that allows anything."""
    if limit < 1:
        raise PydanticCustomError("limit", "Limit should be at least 1")
    return limit


class CallsUsageReq(BaseModel):
    """Request to compute aggregated usage for multiple root calls.

    This endpoint returns usage metrics for each requested call: its own usage plus that of all its descendants.
    One stored total is read per requested call, however large its trace is.
    """

    model_config = ConfigDict(extra="forbid")

    project_id: StrictStr
    call_ids: Strings = Field(
        description="Root call IDs to aggregate. Each result key corresponds to one input call ID."
    )
    include_costs: StrictBool = Field(default=False, description="If true, include cost calculations in the usage.")
    limit: Annotated[WholeNumber, AfterValidator(usage_limit)] = Field(
        default=10_000, description="Maximum number of distinct calls that may be asked; more are refused with 413."
    )


class LLMAggregatedUsage(BaseModel):
    """Aggregated usage metrics for a specific LLM."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0
    prompt_tokens_total_cost: float | None = None
    completion_tokens_total_cost: float | None = None
    cache_read_input_tokens_total_cost: float | None = None
    cache_creation_input_tokens_total_cost: float | None = None


class CallsUsageRes(BaseModel):
    """Response with aggregated usage metrics per root call."""

    call_usage: dict[str, dict[str, LLMAggregatedUsage]] = Field(default_factory=dict)
    unfinished_call_ids: list[str] = Field(default_factory=list)


def read_usage_question(body: bytes) -> UsageQuestion:
    """The question that the JSON `body` asks. Raises Refusal: 422 if it asks none, 413 beyond its own limit."""
    try:
        request = CallsUsageReq.model_validate_json(body)
    except ValidationError as wrong:
        raise invalid(wrong) from None
    call_ids = tuple(dict.fromkeys(request.call_ids))
    if len(call_ids) > request.limit:
        sentence = f"{len(call_ids)} distinct call ids are more than the request's limit of {request.limit}."
        raise Refusal(413, ("body", "call_ids"), sentence, "too_long")
    return UsageQuestion(request.project_id, call_ids, request.include_costs)
