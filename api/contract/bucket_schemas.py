"""JSON Schemas of the rows of `/calls/stats`: every key that a question can ask for, with type and unit.

The contract types a row as "any object", and its schema stays as it is; these stand beside it in the document, under
names of their own, for people and for tools that generate clients.
"""

from typing import Any, get_args

from api.contract.stats_request import AggregationType, CallMetricSpec, UsageMetricSpec

JsonSchema = dict[str, Any]

_UNITS = {"latency_ms": "milliseconds", "call_count": "calls", "error_count": "failed calls"}
_AGGREGATED = {
    AggregationType.SUM: "Sum of {}",
    AggregationType.AVG: "Mean of {}",
    AggregationType.MIN: "Smallest value of {}",
    AggregationType.MAX: "Largest value of {}",
    AggregationType.COUNT: "Number of values of {}",
    AggregationType.COUNT_TRUE: "Number of values of {} that are not 0",
    AggregationType.COUNT_FALSE: "Number of values of {} that are 0",
}
_COUNTS = (AggregationType.COUNT, AggregationType.COUNT_TRUE, AggregationType.COUNT_FALSE)
# A percentile's number is written without an exponent and without zeros at its end: p50, p99.9.
_PERCENTILE = r"^p[0-9]+(\.[0-9]+)?_({metrics})$"


def bucket_schemas() -> dict[str, JsonSchema]:
    """The schemas of a row of `call_buckets` and of `usage_buckets`, by the names they have in the document."""
    model = {"type": "string", "title": "Model", "description": "Model whose usage the row has"}
    return {
        "CallStatsCallBucket": _row(
            "Calls that started in one bucket. Keys are there if the question asks for them.",
            {},
            get_args(CallMetricSpec.model_fields["metric"].annotation),
            "Calls that started in the bucket",
        ),
        "CallStatsUsageBucket": _row(
            "Usage of one model by the calls that started in one bucket. Keys are there if the question asks for them. "
            "Costs are null where no call of the row has a price.",
            {"model": model},
            get_args(UsageMetricSpec.model_fields["metric"].annotation),
            "Calls that used the model",
        ),
    }


def _row(description: str, named: dict[str, JsonSchema], metrics: tuple[str, ...], counted: str) -> JsonSchema:
    timestamp = {
        "type": "string",
        "format": "date-time",
        "title": "Timestamp",
        "description": "Start of the bucket, with the offset that `timezone` has then",
    }
    count = {"type": "integer", "title": "Count", "description": counted}
    values = {f"{one}_{metric}": _value(one, metric) for metric in metrics for one in AggregationType}
    return {
        "type": "object",
        "title": "Bucket",
        "description": description,
        "properties": {"timestamp": timestamp} | named | values | {"count": count},
        "patternProperties": {
            _PERCENTILE.format(metrics="|".join(metrics)): {
                "anyOf": [{"type": "number"}, {"type": "null"}],
                "description": "Percentile; null where there is no value",
            }
        },
        "required": ["timestamp", *named, "count"],
        "additionalProperties": False,
    }


def _value(aggregation: AggregationType, metric: str) -> JsonSchema:
    is_cost = metric.endswith("_cost")
    description = _AGGREGATED[aggregation].format(metric)
    if aggregation in _COUNTS:
        return {"type": "integer", "description": description}
    unit = "US dollars" if is_cost else _UNITS.get(metric, "tokens")
    of_type = {"type": "number" if is_cost or aggregation is AggregationType.AVG else "integer"}
    described = {"description": f"{description} ({unit})"}
    may_be_null = is_cost or aggregation in (AggregationType.MIN, AggregationType.MAX)
    return ({"anyOf": [of_type, {"type": "null"}]} if may_be_null else of_type) | described
