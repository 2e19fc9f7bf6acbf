"""The facets of a finished call: what only its end tells apart, and what is counted of each."""

from collections.abc import Callable

from aggregator.calls.call import Call
from aggregator.calls.error_text import error_class
from aggregator.rollups.tally import CallTally
from aggregator.rollups.views import MORE_MODELS_FACET, error_facet, model_facet


def error_facet_of(call: Call) -> str | None:
    """The facet of the class of error that a call failed with, "" where it names none; None where it has not failed."""
    return error_facet(error_class(call.error) or "") if call.failed and call.is_ended else None


def count_facets(call: Call, tally_of: Callable[[str], CallTally]) -> None:
    """Count a finished call, but for trees, in the tally of each facet it has; `tally_of` finds that of a facet."""
    if call.failed:
        error = error_facet_of(call)
        if error is not None:
            of_error = tally_of(error)
            of_error.calls += 1
            of_error.add_end(call)
    models = call.models
    for model in models:
        tally_of(model_facet(model)).add_finished(call)
    if len(models) > 1:
        tally_of(MORE_MODELS_FACET).calls += len(models) - 1
