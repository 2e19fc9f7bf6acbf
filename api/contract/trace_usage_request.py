"""`POST /trace/usage` on the wire: the request as its schema states it, checked and turned into a question."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictStr, ValidationError

from api.contract.field_types import WholeNumber
from api.contract.stats_request import CallsFilter, call_filter
from api.contract.usage_request import LLMAggregatedUsage, usage_limit
from api.query.questions import TraceUsageQuestion
from api.refusals import invalid, invalid_at


class TraceUsageReq(BaseModel):
    """Request to compute the usage of every call that a filter selects.

    Each call is reported with its own usage plus that of all its descendants, whether the filter selects these or not.
    """

    model_config = ConfigDict(extra="forbid")

    project_id: StrictStr
    filter: CallsFilter | None = Field(
        default=None, description="Which calls to report; every call of the project if omitted."
    )
    query: Any = Field(default=None, description="Not supported: anything but null is refused.")
    include_costs: StrictBool = Field(default=False, description="If true, include cost calculations in the usage.")
    limit: Annotated[WholeNumber, AfterValidator(usage_limit)] = Field(
        default=10_000, description="Maximum number of calls to report; where more are selected, 413."
    )


class TraceUsageRes(BaseModel):
    """Response with the usage of each selected call."""

    call_usage: dict[str, dict[str, LLMAggregatedUsage]] = Field(default_factory=dict)
    unfinished_call_ids: list[str] = Field(default_factory=list)


def read_trace_usage_question(body: bytes) -> TraceUsageQuestion:
    """The question that the JSON `body` asks. Raises Refusal (422) for a body that asks none."""
    try:
        request = TraceUsageReq.model_validate_json(body)
    except ValidationError as wrong:
        raise invalid(wrong) from None
    if request.query is not None:
        raise invalid_at(("query",), "A query is not supported here; use the filter")
    asked = call_filter(request.filter or CallsFilter(), request.project_id)
    return TraceUsageQuestion(request.project_id, asked, request.include_costs, request.limit)
