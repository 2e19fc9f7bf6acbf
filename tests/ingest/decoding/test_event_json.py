"""What is written of an event is decoded to the same event."""

from hypothesis import given
from hypothesis import strategies as st

from aggregator.calls.event import CallEnd, CallStart, Event, UsageCounts
from ingest.decoding.event_json import event_json
from ingest.decoding.single import decode_message

NOW_US = 1_800_000_000_000_000
IDS = st.text(min_size=1, max_size=40)
MAYBE = st.none() | IDS
TIMES_US = st.integers(946_684_800_000_000, NOW_US)
COUNT = st.integers(0, 2**62)
REFS = st.lists(IDS.map(lambda text: f"weave:///{text}"), max_size=3, unique=True).map(tuple)


@st.composite
def counts(draw: st.DrawFn) -> UsageCounts:
    """Counts as decoding makes them: a total that is 0 is the sum, unread ones have requests alone."""
    if draw(st.booleans()) and draw(st.booleans()):
        return UsageCounts(0, 0, 0, 0, 0, draw(COUNT), is_read=False)
    inputs, outputs = draw(COUNT), draw(COUNT)
    total = draw(COUNT) or inputs + outputs
    kept_1h = draw(st.just(0) | COUNT)
    return UsageCounts(inputs, outputs, total, draw(COUNT), draw(COUNT), draw(COUNT), kept_1h)


STARTS = st.builds(CallStart, IDS, TIMES_US, IDS, IDS, MAYBE, MAYBE, MAYBE, MAYBE, REFS, st.booleans())
ENDS = st.builds(
    CallEnd, TIMES_US, st.booleans(), st.dictionaries(st.text(max_size=9), counts(), max_size=3), REFS, st.booleans()
)


@given(IDS, IDS, st.none() | STARTS, st.none() | ENDS)
def test_written_events_are_read_back(project: str, call: str, start: CallStart | None, end: CallEnd | None) -> None:
    """Every field of every event: one that is new to events and not written fails here."""
    if start is None and end is None:
        return
    event = Event(project, call, start, end)
    assert decode_message(event_json(event), NOW_US).events == [event]
