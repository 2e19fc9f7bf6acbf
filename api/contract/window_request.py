"""What the requests about one window share: project, start and end, and how a number of rows is limited."""

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictStr
from pydantic_core import PydanticCustomError

from api.contract.relative_instants import MOMENT, AskedInstant, Instant
from api.refusals import invalid_at


class WindowReq(BaseModel):
    """Request about the calls of one window."""

    model_config = ConfigDict(extra="forbid")

    project_id: StrictStr
    start: Instant = Field(description="Inclusive start: an instant, or relative to now (`-24h`): then a whole minute.")
    end: Instant | None = Field(
        default=None,
        description="Exclusive end, written as `start` is; a relative one is a whole minute. Default: `now`.",
    )


def window(start: AskedInstant, end: AskedInstant | None, now_us: int) -> tuple[int, int]:
    """Start and end (None: now) of a window, in microseconds since 1970. Raises Refusal where it ends too early."""
    start_us, end_us = start.as_start(now_us), (end or MOMENT).as_end(now_us)
    if end_us < start_us:
        raise invalid_at(("end",), "The window should not end before it starts")
    return start_us, end_us


def at_most(rows_max: int) -> AfterValidator:
    """A check that a limit is from 1 to so many rows."""

    def check(limit: int) -> int:
        if not 1 <= limit <= rows_max:
            raise PydanticCustomError("limit", f"Limit should be from 1 to {rows_max}")
        return limit

    return AfterValidator(check)
