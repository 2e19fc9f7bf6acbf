"""Events and messages for property tests: every shape and spelling that producers send, few names, many collisions."""

import json
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from tests.support.strategies import (
    CALL_IDS,
    EXCEPTIONS,
    MODELS,
    NEVER_SENT,
    OP_NAMES,
    PROJECTS,
    REFS,
    RUN_IDS,
    THREAD_IDS,
    TRACE_IDS,
    TURN_IDS,
    USER_IDS,
    Json,
    pool,
    timestamps,
)

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
    """Strategy: all that a start tells of this call, but for project and id."""
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
