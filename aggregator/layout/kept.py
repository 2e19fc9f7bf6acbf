"""What a shard's writer keeps, as it is stored for those who read: JSON in the field `retention` of `{tag}:writer`.

{"calls_s":2592000,"minutes_s":2592000,"five_minutes_s":7776000,"hours_s":34560000,"since_us":[0,0,0,0]}
"""

import msgspec

from aggregator.rollups.levels import Retention

_decoder = msgspec.json.Decoder(Retention)


def encode_retention(retention: Retention) -> bytes:
    """The retention as it is stored."""
    return msgspec.json.encode(retention)


def decode_retention(stored: bytes) -> Retention:
    """The retention that `encode_retention` was given."""
    return _decoder.decode(stored)
