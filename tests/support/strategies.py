"""Hypothesis strategies: messages that collide with each other in every way, and requests that hit them.

Ids, refs, models and instants come from small pools, so that duplicates, conflicts, parents and filters meet.
All messages are valid; broker's clock and "now" are `NOW`. Prices are those of tests/cases/prices.yaml.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

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
