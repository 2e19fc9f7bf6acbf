"""Lists for drop-downs: names of labels, values of one, series that a selector means, and what each metric is."""

import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from aggregator.time_units import MINUTE_US
from api.prometheus.bad_query import BadQuery
from api.prometheus.gen_ai_labels import LABELS as GEN_AI_LABELS
from api.prometheus.matching import Matcher, matchers_of
from api.prometheus.metrics import BOUND, DIMENSION_LABELS, METRICS, MODEL, NAME, PROJECT, family
from api.prometheus.selection import NumberSource, each_series, metrics_meant, windows
from api.prometheus.store_numbers import StoreNumbers
from api.prometheus.vectors import Labels, Vector

# Values, or series, of one list: what Grafana asks for by itself. A list of series is 8 MB of JSON then.
LISTED_MAX = 40_000
# Groups of calls that are read for one list, each with one value: 200 bytes each. A histogram has dozens of series of
# each group.
GROUPS_READ_MAX = 200_000
_LIMIT = re.compile("[0-9]{1,19}")  # digits of 64 bits
_CALLS, _COUNTED = "callmeter_calls_total", "callmeter_tokens_total"
_OF_MODELS = "gen_ai.client.operation.duration_count"


class Listed(NamedTuple):
    """The first of what there is; `is_cut`: there is more than may be listed, or than was asked for."""

    values: list[Any]
    is_cut: bool


def cut(values: list[Any], wanted: str | None) -> Listed:
    """Return as many as are wanted (None, empty or 0: all).

    Raises BadQuery where that is no number, and where more than LISTED_MAX would be returned.
    """
    if wanted and not _LIMIT.fullmatch(wanted):
        raise BadQuery(f'invalid parameter "limit": cannot parse "{wanted[:100]}" to a number')
    limit = int(wanted or 0) or len(values)
    if min(limit, len(values)) > LISTED_MAX:
        why = (
            f"the list has more than {LISTED_MAX:,} entries: match fewer, or ask for the first with limit={LISTED_MAX}"
        )
        raise BadQuery(why, "execution", 422)
    return Listed(values[:limit], len(values) > limit)


def first(values: list[Any], wanted: str | None) -> Listed:
    """Return as many as are wanted, or the first LISTED_MAX where all are: who explores asks for all series there are.

    Raises BadQuery as `cut` does.
    """
    return cut(values, str(LISTED_MAX) if wanted in (None, "", "0") else wanted)


def label_names() -> list[str]:
    """All names of labels there are."""
    fixed = {name for kinds in METRICS.values() for one in kinds for name, _ in one.fixed}
    return sorted({NAME, PROJECT, BOUND, MODEL, *DIMENSION_LABELS, *GEN_AI_LABELS, *fixed})


def metadata(name: str | None) -> dict[str, list[dict[str, str]]]:
    """Return type and meaning of each metric (or of one) by its name; a histogram's three parts are one."""
    found: dict[str, list[dict[str, str]]] = {}
    for one, kinds in METRICS.items():
        if name is None or name == family(one):
            found[family(one)] = [{"type": kinds[0].type, "help": kinds[0].help, "unit": ""}]
    return found


async def label_values(
    numbers: StoreNumbers, label: str, start_us: int, end_us: int, selectors: list[Any]
) -> list[str]:
    """The values that a label has in a window, of the series that selectors mean. Raises BadQuery."""
    if label == NAME and not any(one.matchers.matchers for one in selectors):
        named = {one.name for one in selectors if one.name}
        return sorted(name for name in METRICS if not named or name in named)
    if label == PROJECT and not selectors:
        return await numbers.known_projects(LISTED_MAX + 1)
    fixed = {value for kinds in METRICS.values() for one in kinds for name, value in one.fixed if name == label}
    if fixed:
        return sorted(fixed)
    asked = [matchers_of(one) for one in selectors] or [()]
    found: set[str] = set()
    for matchers in asked:

        def take(some: Vector) -> bool:
            found.update(value for one in _with_calls(some) for name, value in one if name == label)
            return True

        await _each(numbers, _named(matchers, label), (start_us, end_us), [label], take)
    return sorted(found)


async def series(numbers: NumberSource, start_us: int, end_us: int, selectors: list[Any]) -> list[dict[str, str]]:
    """The labels of all series with calls in a window that selectors mean; beyond LISTED_MAX some more than those.

    Raises BadQuery.
    """
    found: dict[Labels, None] = {}

    def take(some: Vector) -> bool:
        found.update(dict.fromkeys(_with_calls(some)))
        return len(found) <= LISTED_MAX

    for selector in selectors:
        matchers = matchers_of(selector)
        for name in metrics_meant(matchers):
            if len(found) <= LISTED_MAX:
                only = (*matchers, Matcher(NAME, False, name))
                await _each(numbers, only, (start_us, end_us), None, take)
    return [dict(labels) for labels in found]


async def _each(
    numbers: NumberSource,
    matchers: tuple[Matcher, ...],
    window_us: tuple[int, int],
    wanted: list[str] | None,
    take: Callable[[Vector], bool],
) -> None:
    within = windows([window_us[0]], [window_us[1] + MINUTE_US])
    await each_series(numbers, matchers, within, wanted, False, GROUPS_READ_MAX, take)


def _with_calls(some: Vector) -> Iterator[Labels]:
    return (one.labels for one in some if one.values[0] > 0)


def _named(matchers: tuple[Matcher, ...], label: str) -> tuple[Matcher, ...]:
    """A selector without a name means calls, or for a model what models counted, or calls that used them."""
    if any(one.label == NAME for one in matchers):
        return matchers
    meant = _OF_MODELS if label in GEN_AI_LABELS else _COUNTED if label == MODEL else _CALLS
    return (Matcher(NAME, False, meant), *matchers)
