"""Keys of messages: a call's events and a trace's calls share one, batches are taken apart, no line is guessed at."""

import json

import pytest

from ingest.kafka.message_key import KeyedBy, MessageKeys, NoEvent

START = {"project_id": "acme", "id": "call-1", "trace_id": "trace-1", "op_name": "op", "started_at": "2026-06-10"}
END = {"project_id": "acme", "id": "call-1", "ended_at": "2026-06-10", "summary": {}}


def keys_of(keys: MessageKeys, line: object) -> list[str]:
    return [message.key for message in keys.messages(json.dumps(line).encode())]


@pytest.mark.parametrize(
    "line",
    [
        {"start": START},
        {"mode": "start", "req": {"start": START}},
        {"end": {**END, "trace_id": "trace-1"}},
        {"mode": "end", "req": {"end": {**END, "trace_id": "trace-1"}}},
        {"complete": START | END},
        {"mode": "complete", "req": {"complete": START | END}},
        {"mode": "complete", "req": START | END},
        {"key": None, "value": {"start": START}},
        {"batch": [{"start": START}]},
        {"batch": [START | END]},
    ],
)
@pytest.mark.parametrize(("keyed_by", "key"), [("project", "acme"), ("trace", "trace-1")])
def test_every_shape_has_its_key(line: object, keyed_by: KeyedBy, key: str) -> None:
    """Each shape of an event is keyed by its project or by its trace."""
    assert keys_of(MessageKeys(keyed_by), line) == [key]


def test_an_event_is_sent_as_it_came() -> None:
    """The bytes of an event are not touched, whatever else is in it."""
    line = b'{ "start" : {"project_id":"acme","id":"1","inputs":{"x":1e400}, "odd": null} }'
    assert MessageKeys("project").messages(line)[0].value == line
    assert MessageKeys("project").messages(b'{"value":' + line + b"}")[0].value == line


def test_an_own_key_is_kept() -> None:
    """A line's own key wins, for a batch too, which is then one message."""
    keys = MessageKeys("project")
    batch = {"batch": [{"start": START}, {"end": END}]}
    assert keys_of(keys, {"key": "mine", "value": {"start": START}}) == ["mine"]
    assert keys_of(keys, {"key": "", "value": {"start": START}}) == [""]
    assert [
        json.loads(message.value) for message in keys.messages(json.dumps({"key": "k", "value": batch}).encode())
    ] == [batch]


def test_a_batch_is_taken_apart() -> None:
    """Each event of a batch goes with its own key; a bare complete call is wrapped, since alone it is no event."""
    keys = MessageKeys("project")
    other = START | END | {"project_id": "other"}
    messages = keys.messages(json.dumps({"batch": [{"start": START}, other]}).encode())
    assert [(message.key, json.loads(message.value)) for message in messages] == [
        ("acme", {"start": START}),
        ("other", {"complete": other}),
    ]
    assert keys.messages(b'{"batch":[]}') == []


def test_an_end_follows_its_start() -> None:
    """An end that names no trace goes where its start went where keys are traces; a repeated start as well."""
    keys = MessageKeys("trace")
    assert keys_of(keys, {"start": START}) == ["trace-1"]
    assert keys_of(keys, {"end": END}) == ["trace-1"]
    assert keys_of(keys, {"end": END | {"project_id": "other"}}) == ["call-1"]
    assert keys_of(keys, {"start": START | {"trace_id": "changed"}}) == ["trace-1"]
    assert keys.guessed == 1


def test_a_call_without_trace_is_its_own() -> None:
    """A start without trace is keyed by its call where keys are traces, and its end too, whatever trace that names."""
    keys = MessageKeys("trace")
    assert keys_of(keys, {"start": START | {"trace_id": None}}) == ["call-1"]
    assert keys_of(keys, {"end": END | {"trace_id": "late"}}) == ["call-1"]
    assert keys.guessed == 0


def test_memory_is_bounded() -> None:
    """The oldest start is forgotten when one more is seen than are remembered."""
    keys = MessageKeys("trace", calls_remembered_max=2)
    for number in (1, 2, 3):
        keys_of(keys, {"start": START | {"id": f"call-{number}"}})
    assert keys_of(keys, {"end": END | {"id": "call-2"}}) == ["trace-1"]
    assert keys_of(keys, {"end": END | {"id": "call-1"}}) == ["call-1"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "is not JSON"),
        (b'{"start":', "is not JSON"),
        (b'{"start":{"project_id":"a","id":"b","inputs":NaN}}', "is not JSON"),
        (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "is not JSON"),
        (b"[]", "is not an event"),
        (b"{}", "no start, end, complete or batch"),
        (b'{"start":null}', "no start, end, complete or batch"),
        (b'{"start":{"id":"1"}}', "project_id"),
        (b'{"start":{"project_id":"a","id":1}}', "Expected `str`, got `int`"),
        (b'{"project_id":"a","id":"1"}', "no start, end, complete or batch"),
        (b'{"batch":[{"start":{"project_id":"a","id":"1"}},{}]}', "no start, end, complete or batch"),
        (b'{"key":"k","value":{"nothing":1}}', "no start, end, complete or batch"),
        (b'{"key":"k","value":7}', "is not an event"),
        (b'{"key":7,"value":{"start":{"project_id":"a","id":"1"}}}', "key"),
    ],
)
def test_no_event(line: bytes, reason: str) -> None:
    """A message that cannot be keyed is refused with the reason."""
    with pytest.raises(NoEvent, match="is not") as refused:
        MessageKeys("project").messages(line)
    assert reason in str(refused.value)
