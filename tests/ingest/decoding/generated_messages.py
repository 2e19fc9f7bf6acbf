"""Strategies: messages of all shapes, with fields that are right, odd or wrong."""

from typing import Any

from hypothesis import strategies as st

from tests.support.decoded import COMPLETE, OPTIONAL_IDS

TEXT_IDS = st.sampled_from(["a", "", "é", "x" * 256, "é" * 128, "x" * 257, "é" * 129, "weave:///p/op/x:v1"])
IDS = TEXT_IDS | st.none() | st.sampled_from([5, True, [], {}])
TIMES: st.SearchStrategy[Any] = st.sampled_from(
    [
        "2026-06-10T09:00:00.000001Z",
        "2026-06-10 11:00:00+02:00",
        "2026-06-11T10:00:00Z",
        "2026-06-11T10:00:00.000001Z",
        "1999-12-31T23:59:59Z",
        "2026-06-10",
        1781082000,
        1781082000.5,
        -5,
        1e300,
        None,
        True,
        [],
    ]
)
VALUES_WITH_REFS = st.sampled_from(
    [None, {}, ["weave:///a"], {"x": "wandb-artifact:///b"}, {"weave:///k": 1}, "weave:/"]
)
ATTRIBUTES: st.SearchStrategy[Any] = st.sampled_from(
    [
        None,
        5,
        [],
        {},
        {"weave": None},
        {"weave": "js-sdk"},
        {"weave": {"source": "js-sdk"}, "more": [{}]},
        {"weave": {"source": "js-sdk\u00e9"}},
        {"weave": {"source": {"source": "js-sdk"}}},
        {"weave": {"client_version": "0.16.0", "source": "python-sdk"}},
    ]
)
SUMMARIES: st.SearchStrategy[Any] = st.sampled_from(
    [
        {},
        {"usage": None},
        {"usage": {"m": {"input_tokens": 3}}},
        {"usage": {"m": {"input_tokens": "3"}}},
        {"usage": {"m": {}}, "status_counts": {"success": 2}},
        {"usage": {"m": {}}, "status_counts": "x"},
        {"usage": {"m": {"requests": -1}}},
        {"usage": {"": {"total_tokens": 1.5}}},
        {"usage": {"m": 5}},
        {"usage": 5},
        None,
        5,
        [],
    ]
)
FIELDS = st.builds(
    lambda fields, changed, removed: {name: value for name, value in (fields | changed).items() if name not in removed},
    st.just(COMPLETE),
    st.fixed_dictionaries(
        {},
        optional={"project_id": IDS, "id": IDS, "op_name": st.sampled_from(["op", None, 5]), "started_at": TIMES}
        | dict.fromkeys(OPTIONAL_IDS, TEXT_IDS)
        | {"ended_at": TIMES, "summary": SUMMARIES, "exception": st.sampled_from([None, "", "E", 5])}
        | {"attributes": ATTRIBUTES, "inputs": VALUES_WITH_REFS, "output": VALUES_WITH_REFS},
    ),
    st.sets(st.sampled_from(["project_id", "op_name", "started_at", "ended_at", "summary", "trace_id"]), max_size=1),
)
ELEMENTS = st.one_of(
    FIELDS.map(lambda fields: {"start": fields}),
    # An end's own start time and trace are read by type only; brute force does not look at them.
    FIELDS.map(
        lambda fields: {"end": {name: fields[name] for name in fields if name not in ("started_at", "trace_id")}}
    ),
    FIELDS.map(lambda fields: {"complete": fields}),
    FIELDS.map(lambda fields: {"mode": "start", "req": {"start": fields}}),
    FIELDS.map(lambda fields: {"mode": "complete", "req": {"complete": fields}}),
    FIELDS.filter(lambda fields: fields.get("id") is not None).map(lambda fields: {"mode": "complete", "req": fields}),
)
MESSAGES = ELEMENTS | st.lists(ELEMENTS, max_size=3).map(lambda batch: {"batch": batch})
