"""An event as text: as it waits in a shard for its start, and as it is sent on to the shard that knows its call.

{"project_id":"p","call_id":"c","start":null,"end":{"ended_at_us":1,"failed":false,"usage":{},"output_refs":[],...}}
"""

import msgspec

from aggregator.calls.event import Event

_decoder = msgspec.json.Decoder(Event)


def encode_event(event: Event) -> bytes:
    """The event as JSON."""
    return msgspec.json.encode(event)


def decode_event(text: bytes) -> Event:
    """The event that `encode_event` was given. Raises msgspec.DecodeError."""
    return _decoder.decode(text)
