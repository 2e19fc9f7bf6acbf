"""Each reader of a message's shape finds the events that the decoder finds: keys for Kafka, and looks into messages."""

import json
from typing import Any

import msgspec
from hypothesis import event, example, given
from hypothesis import strategies as st

from ingest.decoding.shapes import events_in
from ingest.kafka.message_key import MessageKeys
from tests.ingest.decoding.generated_messages import FIELDS, MESSAGES
from tests.support.decoded import COMPLETE, comparable, decode_value

# Fields that are all right come once in a while, so that whole batches are taken, bare completes in them too.
TAKEN = st.sampled_from([{"complete": COMPLETE}, {"mode": "complete", "req": COMPLETE}, COMPLETE])
ALL = MESSAGES | st.lists(TAKEN | FIELDS, max_size=3).map(lambda batch: {"batch": batch})


@given(ALL)
@example({"complete": COMPLETE | {"trace_id": ""}})
@example({"batch": [COMPLETE | {"trace_id": "t"}, COMPLETE]})
def test_keys_are_those_of_the_events_that_are_decoded(message: dict[str, Any]) -> None:
    """A message that a worker takes whole is sent as its events, each with the key of its project, or of its trace."""
    value = json.dumps(message).encode()
    events, invalid = decode_value(value)
    event(f"taken whole: {bool(events) and not invalid}")
    if invalid:
        return
    by_project, by_trace = MessageKeys("project").messages(value), MessageKeys("trace").messages(value)
    assert [sent.key for sent in by_project] == [one.project_id for one in events]
    sent = [decode_value(part.value)[0] for part in by_project]
    assert [[comparable(one) for one in found] for found in sent] == [[comparable(one)] for one in events]
    traces: dict[tuple[str, str], str] = {}
    for one, keyed in zip(events, by_trace, strict=True):
        if one.start is not None:
            trace = traces.setdefault((one.project_id, one.call_id), one.start.trace_id or one.call_id)
            assert keyed.key == trace


@given(ALL)
def test_a_look_into_a_message_sees_the_events_that_are_decoded(message: dict[str, Any]) -> None:
    """A look finds the fields of each event that is decoded, in order, with its position in a batch."""
    value = json.dumps(message).encode()
    events, invalid = decode_value(value)
    seen = list(events_in(msgspec.json.decode(value)))
    assert len(seen) == len(events) + len(invalid)
    wrong = {one.position for one in invalid}
    taken = [fields for position, fields in seen if position not in wrong]
    assert [(fields["project_id"], fields["id"]) for fields in taken] == [(e.project_id, e.call_id) for e in events]


def test_a_look_never_raises() -> None:
    """A look into what is no message, or an odd one, finds nothing or what is there."""
    odd: tuple[object, ...] = (None, 5, [], "start")
    assert [list(events_in(one)) for one in odd] == [[]] * 4
    assert list(events_in({"batch": [5, {"start": 7}]})) == [(1, {"start": 7})]
