"""Hypothesis strategies: messages that collide with each other in every way, and requests that hit them.

Ids, refs, models and instants come from small pools, so that duplicates, conflicts, parents and filters meet.
All messages are valid; broker's clock and "now" are `NOW`. Prices are those of tests/cases/prices.yaml.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

NOW = datetime(2026, 11, 20, tzinfo=UTC)
# Nearly everything happens in the first.
PROJECTS = (*["acme/agents"] * 7, "acme/others")
CALL_IDS = tuple(f"call-{number}" for number in range(8))
NEVER_SENT = "never-sent"
# The second is also the id of a call: a call without trace id is its own trace, which others may join.
TRACE_IDS = ("trace-a", CALL_IDS[0], "trace-b", "")
THREAD_IDS = ("thread-a", "thread-b", "")
TURN_IDS = ("turn-a", "turn-b")
USER_IDS = ("user-a", "user-b")
RUN_IDS = ("acme/agents/run-1", "acme/agents/run-2")
EXCEPTIONS = (
    *(None, "", "boom", "boom", "ValueError: no such model", "openai.RateLimitError: 429\nslow down"),
    *("it broke: badly", '{"type": "KeyError", "message": "naïve", "traceback": "..."}'),
)
OP_NAMES = (
    "weave:///acme/agents/op/llm.chat:v1",
    "weave:///acme/agents/op/llm.chat:v2",
    "weave:///acme/agents/op/llm.chat",
    "weave:///acme/agents/op/agent.run:v1",
    "plain",
)
OP_PREFIXES = ("weave:///acme/agents/op/llm.chat:*", "weave:*", "*", ":*")
REFS = (
    "weave:///acme/agents/object/doc:v1",
    "weave:///acme/agents/object/doc:v2",
    "weave-trace-internal:///p/object/naïve:v1",
    "wandb-artifact:///abc:latest",
)
REF_PREFIXES = ("weave:///acme/agents/object/doc:*", "wandb-artifact:*", "weave:///acme/agents/object/d*")
# Priced, with a price that changes with time, a fraction of a pico-dollar, zero; without a price.
MODELS = ("gpt-4o", "claude-sonnet-4", "acme-dated", "acme-so-tiny", "acme-local", "acme-llm-1", "")
ZONES = (
    *("UTC", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"),
    *("America/St_Johns", "America/Havana", "Africa/Casablanca"),
)
# Instants around which everything happens; about half of it within one night.
ANCHORS = tuple(
    datetime.fromisoformat(text)
    for text in (
        "2026-05-11T12:00:00Z",  # an hour, and a new price of acme-dated
        "2026-05-12T00:00:00Z",  # a day, and its next price
        "2026-05-11T18:15:00Z",  # midnight in Kathmandu
        "2026-05-11T23:59:00Z",
        "2026-05-12T00:15:00Z",
        "2025-11-02T06:00:00Z",  # New York: 01:00 for the second time
        "2025-11-02T05:00:00Z",  # Havana: 00:00 for the second time
        "2026-03-08T07:00:00Z",  # New York: 02:00 becomes 03:00
        "2026-04-04T15:00:00Z",  # Lord Howe: half an hour back
        "2025-10-04T15:30:00Z",  # Lord Howe: half an hour forth
    )
)
OFFSETS_MINUTES = (0, 60, -480, 345, -210)
GRANULARITIES_S = (1, 7, 30, 45, 60, 90, 300, 420, 900, 1800, 2700, 3600, 5400, 7200, 10_800, 21_600)
GRANULARITIES_LONG_S = (43_200, 86_400, 100_000, 172_800, 604_800)
# More buckets than this make the brute-force model slow and tell nothing new.
BUCKETS_MAX = 300
CALL_METRICS = ("latency_ms", "call_count", "error_count")
TOKEN_METRICS = (
    *("input_tokens", "output_tokens", "total_tokens"),
    *("cache_read_input_tokens", "cache_creation_input_tokens"),
)
USAGE_METRICS = (*TOKEN_METRICS, "input_cost", "output_cost", "total_cost")
AGGREGATIONS = ("sum", "avg", "min", "max", "count", "count_true", "count_false")
PERCENTILES = (0, 12.5, 50, 50.0, 90, 95, 99, 99.9, 100)

Json = dict[str, Any]

# Strategies without arguments are made once: hypothesis takes far longer to make one than to draw from it.


def pool(values: Sequence[Any]) -> SearchStrategy[Any]:
    """One of the values."""
    return st.sampled_from(values)


# --- instants ---

_MICROSECOND = timedelta(microseconds=1)
_FROM_EDGE = tuple(us * _MICROSECOND for us in (0, 0, 1, -1, 250, -250_001, 1_000_000, -30_000_000, 60_000_000))
_EDGES = tuple(anchor + delta for anchor in ANCHORS for delta in _FROM_EDGE)
_SPELLINGS = tuple((minutes, utc) for minutes in OFFSETS_MINUTES for utc in ("Z", "+00:00", "", "finer", "epoch"))


def _within_hours(anchor: datetime, delta_us: int) -> datetime:
    return anchor + delta_us * _MICROSECOND


# Instants to the microsecond at or near an edge of a minute, an hour, a day, a change of clocks; or hours off.
moments: SearchStrategy[datetime] = pool(_EDGES) | st.builds(
    _within_hours, pool(ANCHORS), st.integers(-7_200_000_000, 7_200_000_000)
)


def _state(moment: datetime, spelling: tuple[int, str]) -> str | float:
    """The instant as an event may state it: RFC 3339 with some offset or none, or seconds since 1970."""
    minutes, utc = spelling
    if utc == "epoch":
        seconds = moment.timestamp()
        return int(seconds) if seconds.is_integer() else seconds
    if utc == "":
        return moment.isoformat().removesuffix("+00:00")
    text = moment.astimezone(timezone(timedelta(minutes=minutes))).isoformat()
    if utc == "finer" and moment.microsecond:
        # What is finer than a microsecond is cut.
        text = text[:26] + "9" + text[26:]
    return text.replace("+00:00", utc) if utc == "Z" else text


timestamps: SearchStrategy[str | float] = st.builds(_state, moments, pool(_SPELLINGS))


def instant_texts(moment: datetime) -> SearchStrategy[str]:
    """The instant as a request may state it."""
    return pool([_state(moment, spelling) for spelling in _SPELLINGS if spelling[1] != "epoch"])


# --- usage ---

# A count in any spelling that counts; null is the same as absent.
counts: SearchStrategy[Any] = pool([0, 1, 7, 12, 12.0, "12", "0", True, False, None]) | st.integers(0, 100_000)
_details = st.dictionaries(pool(["cached_tokens", "cache_write_tokens", "reasoning_tokens"]), counts)
# Never both kinds of details in one: which of them then counts is not said.
_with_details = st.one_of(
    st.just({}),
    st.fixed_dictionaries({"prompt_tokens_details": st.none() | _details}),
    st.fixed_dictionaries({"input_tokens_details": _details, "unknown": st.just("x")}),
)
_COUNT_KEYS = (
    "prompt_tokens",
    "input_tokens",
    "gross_input_tokens",
    "completion_tokens",
    "output_tokens",
    "total_tokens",
    "cache_read_input_tokens",
    "cache_creation_input_tokens",
    "requests",
)
# What a summary states about one model, in the keys of several vendors.
stated_usage: SearchStrategy[Json] = st.builds(
    lambda stated, details: stated | details, st.dictionaries(pool(_COUNT_KEYS), counts, max_size=6), _with_details
)
# An absent mark, none, an own usage, sums of the children's as the SDK marks them, and nonsense, which is no mark.
_STATUS_COUNTS: tuple[Json, ...] = (
    *({}, {"status_counts": None}, {"status_counts": {"success": 1, "error": 0}}, {"status_counts": {"error": 1}}),
    *({"status_counts": {"success": 1, "error": 1}}, {"status_counts": {"success": 5}}),
    *({"status_counts": {"success": "many"}}, {"status_counts": []}),
)
summaries: SearchStrategy[Json] = st.builds(
    lambda usage, mark: mark if usage is None else mark | {"usage": usage},
    st.none() | st.dictionaries(pool(MODELS), stated_usage, max_size=3),
    pool(_STATUS_COUNTS),
)


# --- events ---

# Inputs or output: refs among the values at any depth; a ref as a name, or inside a text, is none.
CONTENTS: tuple[Any, ...] = (
    *(None, {}, [], "text", 7),
    {"self": REFS[0], "k": 1},
    {"docs": [REFS[1], {"n": [[REFS[2]]]}, None], 'é\n"/': "x"},
    {REFS[0]: "a name", "text": f"see {REFS[1]}"},
    [REFS[3], REFS[3], "weave:", "weave://"],
    {"a": {"b": {"c": {"d": REFS[0]}}}, "e": REFS[1] + "/with/path"},
    REFS[2],
)
# What SDKs say of themselves; of the TypeScript SDK's calls each may repeat what is below it.
_JS = {"weave": {"source": "js-sdk"}}
ATTRIBUTES: tuple[Any, ...] = (
    *(_JS, _JS, {"ref": REFS[0]}, {"weave": {"source": "python-sdk"}}, {"weave": "js-sdk"}, None),
    *({"model": "gpt-4o"}, {"gen_ai.request.model": "acme-local", "model": 5}),
)
_start_options = st.fixed_dictionaries(
    {
        "op_name": pool(OP_NAMES),
        "started_at": timestamps,
        "trace_id": pool([*[TRACE_IDS[0]] * 8, *TRACE_IDS, None]),
        "thread_id": pool([*THREAD_IDS, None]),
        "turn_id": pool([*TURN_IDS, None]),
        "wb_user_id": pool([*USER_IDS, None]),
        "wb_run_id": pool([*RUN_IDS, None]),
        "inputs": pool(CONTENTS),
    },
    optional={"attributes": pool(ATTRIBUTES), "unknown": st.just({"parent_id": "x"})},
)


@st.composite
def starts(draw: DrawFn, call_id: str, parent_ids: Sequence[str]) -> Json:
    """What a start tells of this call, but for project and id."""
    start = draw(_start_options) | {"parent_id": draw(pool([None, *parent_ids, *parent_ids, NEVER_SENT, call_id]))}
    keep_nulls = draw(st.booleans())
    return {name: value for name, value in start.items() if keep_nulls or value is not None}


# What an end tells, but for project and id; it may lie before the start.
ends: SearchStrategy[Json] = st.fixed_dictionaries(
    {"ended_at": timestamps, "summary": summaries},
    optional={"exception": pool(EXCEPTIONS), "output": pool(CONTENTS), "is_eval": st.booleans()},
)
# In which shapes a call is told of: whole, in halves, in the wrong order, repeatedly, or in part.
_TOLD = (
    *(("start",), ("start",), ("end",), ("start", "end"), ("end", "start"), ("start", "start", "end", "end")),
    *(("complete",), ("complete",)),
    *(("complete", "end"), ("end", "complete", "start"), ("complete", "complete"), ("start", "complete", "end")),
)


@st.composite
def call_events(draw: DrawFn, project_id: str, call_id: str, parent_ids: Sequence[str], conflicts: bool) -> list[Json]:
    """The events of one call in the plain shapes: some of start, end and complete, some twice.

    With conflicts, a second start or end may tell something else than the first.
    """
    identity = {"project_id": project_id, "id": call_id}
    some_starts = [draw(starts(call_id, parent_ids))]
    some_ends = [draw(ends)]
    if conflicts and draw(st.booleans()):
        some_starts.append(draw(starts(call_id, parent_ids)))
        some_ends.append(draw(ends))
    events: list[Json] = []
    for shape in draw(pool(_TOLD)):
        start = draw(pool(some_starts)) if shape != "end" else {}
        end = draw(pool(some_ends)) if shape != "start" else {}
        events.append({shape: identity | end | start})
    return events


@st.composite
def shaped(draw: DrawFn, event: Json) -> Json:
    """The event in another shape that means the same."""
    ((shape, fields),) = event.items()
    shapes: list[Json] = [event, {"mode": shape, "req": event}]
    if shape == "complete":
        shapes.append({"mode": shape, "req": fields})
    choice: Json = draw(pool(shapes))
    return choice


@st.composite
def event_messages(draw: DrawFn, *, rings: bool = False, conflicts: bool = True) -> list[Json]:
    """A few message values in some order of arrival, all valid.

    Without `rings`, parents come before their children in the pool of ids (or are the call itself), so that no
    links form a ring. Without `conflicts` a call has one start and one end, however often it is told of. Without
    both, the order of the messages does not matter.
    """
    events: list[Json] = []
    for call_id in draw(st.lists(pool(CALL_IDS), min_size=draw(pool([1, 4, 8])), unique=True)):
        parent_ids = CALL_IDS if rings else CALL_IDS[: CALL_IDS.index(call_id)]
        events += draw(call_events(draw(pool(PROJECTS)), call_id, parent_ids, conflicts))
    events = draw(st.permutations(events))
    messages: list[Json] = []
    while events:
        size = draw(st.integers(0, 3))
        if size == 0:
            messages.append(draw(shaped(events.pop())))
        else:
            batch, events = events[-size:], events[:-size]
            messages.append({"batch": [draw(batch_entries(event)) for event in batch]})
    return messages


@st.composite
def batch_entries(draw: DrawFn, event: Json) -> Json:
    """The event as it may stand in a batch: a complete may be bare there."""
    if "complete" in event and draw(st.booleans()):
        fields: Json = event["complete"]
        return fields
    return draw(shaped(event))


def spelled(message: Json) -> SearchStrategy[bytes]:
    """The message as bytes of JSON, in any of several spellings of the same value."""
    plain = json.dumps(message)
    spellings = [
        plain,
        json.dumps(message, ensure_ascii=False, separators=(",", ":")),
        json.dumps(message, indent=1),
        plain.replace("/", "\\/"),
        json.dumps(dict(reversed(message.items()))),
    ]
    return pool([spelling.encode() for spelling in spellings])


# --- requests ---


def metric_specs(metrics: Sequence[str]) -> SearchStrategy[Json]:
    """One metric with any aggregations and percentiles."""
    lists = {
        "aggregations": st.lists(pool(AGGREGATIONS), unique=True),
        "percentiles": st.lists(pool(PERCENTILES), max_size=4),
    }
    return st.fixed_dictionaries({"metric": pool(metrics)}, optional=lists)


_call_metrics = st.fixed_dictionaries({"call_metrics": st.lists(metric_specs(CALL_METRICS), min_size=1, max_size=3)})
_usage_metrics = st.fixed_dictionaries({"usage_metrics": st.lists(metric_specs(USAGE_METRICS), min_size=1, max_size=3)})
_metrics: SearchStrategy[Json] = st.one_of(
    _call_metrics,
    _usage_metrics,
    st.builds(lambda one, other: one | other, _call_metrics, _usage_metrics),
    pool([{}, {"call_metrics": None, "usage_metrics": []}]),
)
_FILTER_VALUES: dict[str, Sequence[str]] = {
    "op_names": (*OP_NAMES, *OP_PREFIXES),
    "input_refs": (*REFS, *REF_PREFIXES),
    "output_refs": (*REFS, *REF_PREFIXES),
    "parent_ids": (*CALL_IDS, NEVER_SENT),
    "trace_ids": (*TRACE_IDS, *CALL_IDS),
    "call_ids": (*CALL_IDS, NEVER_SENT),
    "thread_ids": (*THREAD_IDS, "nobody"),
    "turn_ids": (*TURN_IDS, "nobody"),
    "wb_user_ids": (*USER_IDS, "nobody"),
    "wb_run_ids": (*RUN_IDS, "nobody"),
}
_filter_fields = {field: st.lists(pool(values), min_size=2, max_size=6) for field, values in _FILTER_VALUES.items()} | {
    "trace_roots_only": pool([True, False, None])
}


@st.composite
def call_filters(draw: DrawFn) -> Json | None:
    """None, or one to three fields of a filter with values that calls have, and some that none has."""
    size = draw(pool([1, 1, 2, 3, 0]))
    if size == 0:
        nothing: Json | None = draw(pool([None, {}]))
        return nothing
    fields = draw(st.lists(pool(list(_filter_fields)), unique=True, min_size=size, max_size=size))
    chosen = {field: draw(_filter_fields[field]) for field in fields}
    return chosen | {"turn_ids": draw(pool([None, []]))} if draw(st.integers(0, 9)) == 9 else chosen


@st.composite
def windows(draw: DrawFn) -> tuple[datetime, datetime]:
    """Start and end: all that is told of, hours or days around an anchor, or any two instants."""
    kind = draw(pool(["all", "around", "around", "any"]))
    if kind == "all":
        return min(ANCHORS) - timedelta(days=draw(pool([1, 5]))), max(ANCHORS) + timedelta(days=1)
    if kind == "around":
        anchor, hours = draw(pool(ANCHORS)), draw(pool([1, 2, 6, 13, 24, 72, 14 * 24, 31 * 24]))
        return anchor - timedelta(hours=hours), anchor + timedelta(hours=draw(pool([1, hours])))
    start, end = sorted((draw(moments), draw(moments)))
    return start, end


@st.composite
def stats_requests(draw: DrawFn) -> Json:
    """A valid request of /calls/stats over the data of `event_messages`, of at most some hundred buckets."""
    start, end = draw(windows())
    request: Json = {"project_id": draw(pool(PROJECTS)), "start": draw(instant_texts(start))}
    if draw(st.integers(0, 9)) == 9:
        end = NOW
        request |= draw(pool([{}, {"end": None}]))
    else:
        request["end"] = draw(instant_texts(end))
    range_s = (end - start).total_seconds()
    fitting = [g for g in (*GRANULARITIES_S, *GRANULARITIES_LONG_S) if range_s / g <= BUCKETS_MAX]
    optional = {
        "granularity": st.none() | pool(fitting),
        "timezone": pool(ZONES),
    }
    if draw(pool([True, True, True, False])):
        request["filter"] = draw(call_filters())
    return request | draw(_metrics) | draw(st.fixed_dictionaries({}, optional=optional))


@st.composite
def usage_requests(draw: DrawFn) -> Json:
    """A valid request of /calls/usage about calls of `event_messages`, some unknown, some twice."""
    call_ids = draw(st.lists(pool([*CALL_IDS, NEVER_SENT]), min_size=draw(pool([0, 1, 3])), max_size=6))
    optional = {"include_costs": st.booleans(), "limit": st.integers(max(1, len(set(call_ids))), 10_000)}
    request = {"project_id": draw(pool(PROJECTS)), "call_ids": call_ids}
    return request | draw(st.fixed_dictionaries({}, optional=optional))


@st.composite
def trace_usage_requests(draw: DrawFn) -> Json:
    """A valid request of /trace/usage: any filter, or none, and now and then a limit that may be too low."""
    optional = {"include_costs": st.booleans(), "limit": pool([1, 3, 10_000])}
    request = {"project_id": draw(pool(PROJECTS)), "filter": draw(call_filters())}
    return request | draw(st.fixed_dictionaries({}, optional=optional))
