"""A step that was begun and may end its worker, as it is noted before it: JSON in the string `{tag}:attempt`.

{"offset":10,"element":0,"messages":312,"deaths":1}
"""

import msgspec


class Attempt(msgspec.Struct, frozen=True):
    """The step that begins at this position, with so many messages, was begun after so many that ended their worker."""

    offset: int
    element: int
    messages: int
    deaths: int


_decoder = msgspec.json.Decoder(Attempt)


def encode_attempt(attempt: Attempt) -> bytes:
    """The attempt as it is stored."""
    return msgspec.json.encode(attempt)


def decode_attempt(stored: bytes) -> Attempt | None:
    """The attempt that `encode_attempt` was given; None for what is none."""
    try:
        return _decoder.decode(stored)
    except msgspec.DecodeError:
        return None
