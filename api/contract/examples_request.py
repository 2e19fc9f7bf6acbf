"""`POST /calls/examples` on the wire: the request, checked and turned into an ExamplesQuestion, and the answer."""

from typing import Annotated, Literal

from pydantic import BaseModel, Field, ValidationError

from aggregator.rollups.orders import Order
from api.contract.field_types import InstantUs, WholeNumber
from api.contract.stats_request import CallsFilter, call_filter
from api.contract.window_request import WindowReq, at_most, window
from api.query.examples_question import ExamplesQuestion
from api.refusals import invalid

# Calls of one answer; who wants all of them wants an export.
EXAMPLES_MAX = 100
EXAMPLES_DEFAULT = 20

ExamplesKind = Literal["newest", "failing", "slowest", "dearest"]


class CallExamplesReq(WindowReq):
    """Request for single calls of a window."""

    filter: CallsFilter | None = None
    kind: ExamplesKind = Field(
        default="newest",
        description="`newest`: by start; `failing`: those that failed, by start; `slowest`: by latency; `dearest`: by "
        "the cost of their own usage. The largest first.",
    )
    limit: Annotated[WholeNumber, at_most(EXAMPLES_MAX)] = Field(
        default=EXAMPLES_DEFAULT, description="How many calls the answer has, 1 to 100."
    )


class ExampleCall(BaseModel):
    """One call: what is kept of it, never its inputs or outputs."""

    id: str
    trace_id: str
    parent_id: str | None
    op_name: str
    wb_user_id: str | None
    wb_run_id: str | None
    started_at: InstantUs
    ended_at: InstantUs | None = Field(description="When the call ended; null: it has no end yet")
    latency_ms: int | None
    models: list[str] = Field(
        description="Models that the call used itself; where it failed and used none, the one its attributes name"
    )
    input_tokens: int = Field(
        description="Input tokens that the call used itself, over all models; the other counts are its own, too"
    )
    output_tokens: int
    total_tokens: int
    cost: float | None = Field(description="Cost in USD; null where nothing that the call used has a price")
    failed: bool
    error: str | None = Field(description="The beginning of the error text of a failed call, if that is kept")
    link: str | None = Field(description="Address of the call's page, by CALLMETER_LINK__CALL")


class CallExamplesRes(BaseModel):
    """The first calls of the asked order, of the part of the window of which call records are kept."""

    start: InstantUs = Field(description="Resolved start (UTC), no earlier than call records reach back")
    end: InstantUs = Field(description="Resolved end (UTC)")
    kind: ExamplesKind
    calls: list[ExampleCall]
    complete: bool = Field(
        description="false: the minutes that may hold these calls have too many to look at all; some may be missing"
    )


def read_examples_question(body: bytes, now_us: int) -> ExamplesQuestion:
    """The question that the JSON `body` asks at `now_us`. Raises Refusal (422) for a body that asks none."""
    try:
        request = CallExamplesReq.model_validate_json(body)
    except ValidationError as wrong:
        raise invalid(wrong) from None
    start_us, end_us = window(request.start, request.end, now_us)
    asked = call_filter(request.filter or CallsFilter(), request.project_id)
    return ExamplesQuestion(request.project_id, start_us, end_us, asked, Order(request.kind), request.limit)
