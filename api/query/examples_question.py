"""What `/calls/examples` is asked, once the request has been checked."""

from dataclasses import dataclass

from aggregator.rollups.orders import Order
from api.query.questions import CallFilter


@dataclass(frozen=True, slots=True)
class ExamplesQuestion:
    """A question to `/calls/examples`: the first `limit` calls of an order, of those with `start_us <= started_at <
    end_us` that pass the filter.
    """

    project_id: str
    start_us: int
    end_us: int
    filter: CallFilter
    order: Order
    limit: int
