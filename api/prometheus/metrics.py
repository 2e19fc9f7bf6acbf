"""The metrics that can be queried: what each counts, its labels, and the bounds of its histograms.

Every number of a metric adds up over slots, calls and shards, so a rate is a difference of sums and nothing else.
"""

from collections.abc import Mapping
from typing import NamedTuple

from aggregator.rollups.series import USAGE_METRICS
from api.prometheus.gen_ai_labels import TOKEN_TYPE, gen_ai_labels

DIMENSION_LABELS = ("op_name", "root", "wb_user_id", "wb_run_id")
PROJECT, MODEL, NAME, BOUND = "project", "model", "__name__", "le"

# Latencies from a millisecond to an hour: six bounds a decade keep a quantile within a fifth of its value.
LATENCY_BOUNDS_S = tuple(
    round(step * 10.0**decade, 6)
    for decade in range(-3, 4)
    for step in (1, 1.5, 2, 3, 5, 7)
    if step * 10.0**decade <= 3600
)
# Tokens of a call: powers of two up to sixteen million.
TOKEN_BOUNDS = tuple(float(2**power) for power in range(25))
# Dollars of a call: from a millionth to a hundred.
COST_BOUNDS = (*(round(step * 10.0**decade, 9) for decade in range(-6, 2) for step in (1, 2, 5)), 100.0)

# Of OpenTelemetry's histograms also the bounds that its conventions advise, which queries may name.
GEN_AI_SECOND_BOUNDS = tuple(sorted({*LATENCY_BOUNDS_S, *(round(0.01 * 2**power, 2) for power in range(14))}))
GEN_AI_TOKEN_BOUNDS = tuple(float(2**power) for power in range(27))

LATENCY_MS = "latency_ms"
MS_PER_S = 1_000.0
PICO_PER_DOLLAR = 1e12


class Metric(NamedTuple):
    """One metric: `part` is what of `quantity` it is (`count`, `sum`, `bucket`), `scale` what a unit of it is divided
    by, `fixed` labels that are always there, and by which name it calls a model (None: it has no models).

    `is_gen_ai`: it has OpenTelemetry's labels instead, and of latencies counts calls by the models that they used.
    """

    quantity: str
    part: str
    help: str
    scale: float = 1.0
    fixed: tuple[tuple[str, str], ...] = ()
    model_label: str | None = None
    bounds: tuple[float, ...] = ()
    is_gen_ai: bool = False

    @property
    def is_of_model_calls(self) -> bool:
        """Whether it counts calls once for each model that they belong to."""
        return self.is_gen_ai and self.quantity == LATENCY_MS

    def labels_of(self, model: str, op_name: str | None) -> Mapping[str, str]:
        """The labels beside those of dimensions; `op_name` None: ops are not told apart."""
        fixed = dict(self.fixed)
        if self.is_gen_ai:
            return fixed | gen_ai_labels(model, op_name)
        return fixed if self.model_label is None else fixed | {self.model_label: model}

    @property
    def type(self) -> str:
        """Return the type as Prometheus' metadata names it."""
        return "histogram" if self.bounds else "counter"


def _histogram(
    quantity: str, text: str, scale: float, bounds: tuple[float, ...], model: str | None = None
) -> list[Metric]:
    return [Metric(quantity, part, text, scale, (), model, bounds) for part in ("bucket", "sum", "count")]


_TOKEN_TYPES = {
    "input": "input_tokens",
    "output": "output_tokens",
    "cache_read": "cache_read_input_tokens",
    "cache_creation": "cache_creation_input_tokens",
}
_GEN_AI_TYPES = {"input": "input_tokens", "output": "output_tokens"}


def _counters() -> dict[str, tuple[Metric, ...]]:
    tokens = "Tokens, by type; cached ones are also among the input."
    dollars = "Dollars of calls whose models have a price."
    return {
        "callmeter_calls_total": (Metric("calls", "count", "Calls that started."),),
        "callmeter_call_errors_total": (Metric("errors", "count", "Calls that ended with an exception."),),
        "callmeter_cost_usd_total": (Metric("total_cost", "sum", dollars, PICO_PER_DOLLAR, (), MODEL),),
        "callmeter_tokens_total": tuple(
            Metric(quantity, "sum", tokens, 1.0, (("type", type_),), MODEL) for type_, quantity in _TOKEN_TYPES.items()
        ),
    }


def _histograms() -> dict[str, list[list[Metric]]]:
    seconds = "Seconds from start to end of calls that ended."
    operations = [
        one._replace(is_gen_ai=True)
        for one in _histogram(LATENCY_MS, "Seconds of calls that used a model.", MS_PER_S, GEN_AI_SECOND_BOUNDS)
    ]
    families = {
        "callmeter_call_latency_seconds": [_histogram(LATENCY_MS, seconds, MS_PER_S, LATENCY_BOUNDS_S)],
        # As Prometheus names it without translation, and with the unit as a suffix.
        "gen_ai.client.operation.duration": [operations],
        "gen_ai.client.operation.duration_seconds": [operations],
        "gen_ai.client.token.usage": [
            [
                one._replace(fixed=((TOKEN_TYPE, type_),), is_gen_ai=True)
                for one in _histogram(quantity, "Tokens of a call.", 1.0, GEN_AI_TOKEN_BOUNDS)
            ]
            for type_, quantity in _GEN_AI_TYPES.items()
        ],
    }
    for quantity in USAGE_METRICS:
        is_cost = quantity.endswith("cost")
        name = f"callmeter_usage_{quantity}" + ("_usd" if is_cost else "")
        scale, bounds = (PICO_PER_DOLLAR, COST_BOUNDS) if is_cost else (1.0, TOKEN_BOUNDS)
        families[name] = [_histogram(quantity, f"{quantity} of a call and model.", scale, bounds, MODEL)]
    return families


def _table() -> dict[str, tuple[Metric, ...]]:
    table = _counters()
    for name, kinds in _histograms().items():
        for position, suffix in enumerate(("_bucket", "_sum", "_count")):
            table[name + suffix] = tuple(kind[position] for kind in kinds)
    return table


METRICS = _table()
"""By name: the metrics that are under it, one for each value of its fixed labels."""


def family(name: str) -> str:
    """The name that metadata has: of a histogram's parts it is the histogram's."""
    if METRICS[name][0].bounds:
        return name.rpartition("_")[0]
    return name
