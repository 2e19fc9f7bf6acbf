"""The files of all time zones, read apart from the product: one name of each zone, and the jumps of its offset."""

import struct
from importlib.resources import files

from api.query.zones import zone_names

# An independent look at the zones: the transitions in their files, and a clock walked minute by minute.


def zone_file(name: str) -> bytes:
    return files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()


def distinct_zones() -> list[str]:
    """One name of each zone; the others of the 598 are links to the same file."""
    return sorted({zone_file(name): name for name in sorted(zone_names())}.values())


def file_jumps(name: str) -> list[int]:
    """The instants of a zone's TZif file (RFC 8536, version 2) at which its offset changes."""
    blob = zone_file(name)

    def counts(at: int) -> tuple[int, ...]:
        return struct.unpack(">6L", blob[at + 20 : at + 44])

    utc_or_local, standard, leaps, times, types, chars = counts(0)
    second = 44 + times * 5 + types * 6 + chars + leaps * 8 + standard + utc_or_local
    _, _, _, times, types, _ = counts(second)
    at = second + 44
    instants = struct.unpack(f">{times}q", blob[at : at + 8 * times])
    kinds = blob[at + 8 * times : at + 9 * times]
    offsets = [struct.unpack(">l", blob[at + 9 * times + 6 * k :][:4])[0] for k in range(types)]
    before = [0, *kinds]
    return [t for t, old, new in zip(instants, before, kinds, strict=False) if offsets[old] != offsets[new]]
