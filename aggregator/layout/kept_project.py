"""The instants until when a shard keeps projects: values of the hash `{tag}:until`, by the project's number.

1767225600          until that instant (Unix s)
1767225600:5120     it has passed; once all call records below that number are dropped, nothing is left
"""

from typing import NamedTuple


class KeptProject(NamedTuple):
    """`leaving_at`: the number of the next record when the time had passed; None before."""

    until_s: int
    leaving_at: int | None = None


def encode_kept_project(kept: KeptProject) -> str:
    """Write it as it is stored."""
    return f"{kept.until_s}" if kept.leaving_at is None else f"{kept.until_s}:{kept.leaving_at}"


def decode_kept_project(stored: bytes) -> KeptProject:
    """Read what `encode_kept_project` wrote."""
    until_s, _, leaving_at = stored.partition(b":")
    return KeptProject(int(until_s), int(leaving_at) if leaving_at else None)
