"""Why a message, or an element of its batch, is no event."""

from typing import Literal, NamedTuple

Reason = Literal["json", "shape", "missing", "type", "timestamp", "time_range", "id_length", "usage", "too_late"]


class InvalidEvent(NamedTuple):
    """`reason` is a Reason here; what comes after decoding may have reasons of its own.

    `message` is a sentence for people that names the field; `position` is the index in the batch, None outside one.
    """

    reason: str
    field: str | None
    message: str
    position: int | None


class NotAnEvent(Exception):
    """Raised where a message turns out to be invalid."""

    def __init__(self, reason: Reason, field: str | None, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.field = field
        self.message = message

    def at(self, position: int | None) -> InvalidEvent:
        return InvalidEvent(self.reason, self.field, self.message, position)
