"""How a sketch is stored: the centroids of one metric in some three bytes each, and many read at once.

A metric's values are integers, so means are kept as integers too, in parts of a unit; the unit is what all pure
centroids (of one value) are multiples of, such as the price of a token. Pure centroids are kept exactly. A mixed one
is rounded to a power of two, and moves by at most 1/MOVED_PART of the distance to either neighbour, so by at most that
part of a centroid's weight in ranks, whatever the data. What is rounded stays as it is when it is stored again, but
where rounding has widened a distance beyond a power of two: there it is rounded once more, and more coarsely. As
that leaves a mean with more zeros at its end each time, all means stay after a few times.

A stored sketch is a row of varints (7 bits a byte, the lowest first, 0x80 on all but the last):

    fraction bits: 2 ** of these are a unit's parts; unit; number of centroids; lowest code; first mean (zigzag);
    for each further centroid: the code of its distance to the one before, less the lowest code;
    for each centroid: 4 * weight + 2 (if it has a remainder) + 1 (if it is pure);
    for each that has one: the remainder, which is added to what its code stands for.

A code below 32 is the distance itself; from there on it is a number of 5 bits, and how far that is shifted. A remainder
is less than 1 shifted so: its 7 highest bits stand in the lowest of its varint, then the next ones. Example: -4 a
hundred times and 3 two hundred times are `08 01 02 7c ff0f 00 9103 a106`. Means that do not fit into 62 bits are
stored as `ff`, doubles of all means, then 32-bit weights, those of mixed centroids negative.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Centroids = tuple[Floats, Floats]
"""Means and weights of centroids; weights of mixed ones are negative."""

_Integers = NDArray[np.int64]

# Of the distance between neighbours, the part that a mixed mean may move by, at most.
MOVED_PART = 32

_FRACTION_BITS = 8  # finer would tell apart what lies within one value
_MEAN_BITS = 61  # so that distances, and a zigzag's further bit, fit into 63
_EXACT_BITS = 53  # of a double
_CODE_BITS = 5
_HALF = 1 << _CODE_BITS - 1
_PURE, _REMAINING, _STATES = 1, 2, 4
_HEADER = 5
_DIGIT_BITS, _DIGIT = 7, 0x7F
_WEIGHT_MAX = 2**31 - 1
_DOUBLES = b"\xff"  # no sketch has so many fraction bits
_DOUBLE, _WEIGHT = np.dtype("<f8"), np.dtype("<i4")


def pack_centroids(sketches: Sequence[Centroids]) -> list[bytes]:
    """Pack each sketch as it is stored: its centroids by ascending mean; nothing where there are none."""
    packed = [b""] * len(sketches)
    ours: list[_Scaled] = []
    for at, (means, weights) in enumerate(sketches):
        if len(means):
            sizes = np.minimum(np.abs(weights), _WEIGHT_MAX).astype(np.int64)
            pure = weights > 0
            scaled = _scaled(at, means, sizes, pure)
            if scaled is None:
                packed[at] = _as_doubles(means, sizes, pure)
            else:
                ours.append(scaled)
    if ours:
        for one, bytes_of_one in zip(ours, _encoded(ours), strict=True):
            packed[one.at] = bytes_of_one
    return packed


class _Scaled(NamedTuple):
    """A sketch whose means are whole parts of a unit."""

    at: int
    means: _Integers
    sizes: _Integers
    pure: NDArray[np.bool_]
    unit: int
    fraction_bits: int


def unpack_centroids(stored: Sequence[bytes]) -> Centroids:
    """The centroids of several sketches, one after the other."""
    found = [_of_doubles(one) for one in stored if one[:1] == _DOUBLES]
    ours = [one for one in stored if one and one[0] != _DOUBLES[0]]
    if ours:
        found.append(_decoded(ours)[:2])
    if len(found) == 1:
        return found[0]
    if not found:
        return np.empty(0), np.empty(0)
    return np.concatenate([means for means, _ in found]), np.concatenate([weights for _, weights in found])


def unpack_each(stored: Sequence[bytes]) -> list[Centroids]:
    """The centroids of each of several sketches; of nothing stored, none."""
    ours = [one for one in stored if one and one[0] != _DOUBLES[0]]
    means, weights, ends = _decoded(ours) if ours else (np.empty(0), np.empty(0), [])
    found: list[Centroids] = []
    of_ours = iter(zip([0, *ends], ends, strict=False))
    for one in stored:
        if one[:1] in (b"", _DOUBLES):
            found.append(_of_doubles(one))
        else:
            begin, end = next(of_ours)
            found.append((means[begin:end], weights[begin:end]))
    return found


def _scaled(at: int, means: Floats, sizes: _Integers, pure: NDArray[np.bool_]) -> _Scaled | None:
    """A sketch in whole parts of a unit; None where these would not be exact."""
    largest = max(abs(float(means[0])), abs(float(means[-1])))
    if not largest < 2.0**_MEAN_BITS:
        return None
    unit = _unit(means, pure) if largest < 2.0**_EXACT_BITS else 1
    fraction_bits = min(_FRACTION_BITS, _MEAN_BITS - int(largest / unit).bit_length())
    parts = means * (2.0**fraction_bits / unit)
    whole = np.rint(parts)
    if (whole * unit != means * 2.0**fraction_bits)[pure].any():
        return None
    return _Scaled(at, whole.astype(np.int64), sizes, pure, unit, fraction_bits)


def _encoded(sketches: Sequence[_Scaled]) -> list[bytes]:
    """The stored form of each, worked out for all at once."""
    ends = np.cumsum([len(one.means) for one in sketches])
    firsts = np.concatenate([[0], ends[:-1]])
    pure = np.concatenate([one.pure for one in sketches])
    placed = _rounded(np.concatenate([one.means for one in sketches]), pure, firsts)
    distances = np.zeros(len(placed), dtype=np.int64)
    distances[1:] = placed[1:] - placed[:-1]
    distances[firsts] = 0
    shifts = np.maximum(_bit_lengths(distances) - _CODE_BITS, 0)
    codes = _HALF * shifts + (distances >> shifts)
    remainders = distances - (distances >> shifts << shifts)
    remaining = remainders > 0
    states = np.concatenate([one.sizes for one in sketches]) * _STATES + pure + remaining * _REMAINING
    turned = _turned(remainders << -shifts % _DIGIT_BITS, shifts)
    pieces: list[_Integers] = []
    for one, begin, end in zip(sketches, firsts.tolist(), ends.tolist(), strict=True):
        of_one = codes[begin + 1 : end]
        lowest = int(of_one.min()) if len(of_one) else 0
        first = int(placed[begin])
        zigzag = first << 1 if first >= 0 else ~first << 1 | 1
        header = np.array([one.fraction_bits, one.unit, end - begin, lowest, zigzag])
        pieces.append(
            np.concatenate([header, of_one - lowest, states[begin:end], turned[begin:end][remaining[begin:end]]])
        )
    return _varints(pieces)


def _unit(means: Floats, pure: NDArray[np.bool_]) -> int:
    """The largest integer that all pure means are multiples of; 1 where its parts are too coarse for mixed ones."""
    if not pure.any():
        return 1
    whole = means[pure].astype(np.int64)
    unit = int(np.gcd.reduce(whole))
    if unit < 2 or (whole != means[pure]).any():
        return 1
    if not pure.all() and unit * MOVED_PART > (means[1:] - means[:-1]).min() * 2**_FRACTION_BITS:
        return 1
    return unit


def _rounded(means: _Integers, pure: NDArray[np.bool_], firsts: _Integers) -> _Integers:
    """The means of sketches, one after the other, of which each begins at one of `firsts`."""
    gaps = np.full(len(means) + 1, 1 << _MEAN_BITS)
    gaps[1:-1] = means[1:] - means[:-1]
    gaps[firsts] = 1 << _MEAN_BITS
    # Half a step is at most 1/MOVED_PART of the nearest neighbour's distance.
    bits = np.maximum(_bit_lengths(np.minimum(gaps[1:], gaps[:-1])) - MOVED_PART.bit_length() + 1, 0)
    bits[pure | (bits > _MEAN_BITS - MOVED_PART.bit_length())] = 0  # a mean alone has no neighbour
    return means + (np.left_shift(1, bits) >> 1) >> bits << bits


def _bit_lengths(numbers: _Integers) -> _Integers:
    """Return how many bits each number takes; none may be negative."""
    lengths: _Integers = np.frexp(numbers.astype(np.float64))[1].astype(np.int64)
    too_long = (lengths > 0) & (numbers >> np.maximum(lengths - 1, 0) == 0)  # rounded up to the next power of two
    found: _Integers = lengths - too_long
    return found


def _turned(digits: _Integers, bits: _Integers) -> _Integers:
    """The digits of numbers of so many bits, seven bits each, in the opposite order; turned twice, as they were."""
    turned = np.zeros(len(digits), dtype=np.int64)
    highest = -(-bits // _DIGIT_BITS) - 1
    for place in range(int(highest.max(initial=-1)) + 1):
        taken = digits >> _DIGIT_BITS * place & _DIGIT
        turned |= np.where(place <= highest, taken << _DIGIT_BITS * np.maximum(highest - place, 0), 0)
    return turned


def _decoded(stored: Sequence[bytes]) -> tuple[Floats, Floats, list[int]]:
    """Means and weights of all centroids, and where those of each sketch end."""
    numbers, starts = _numbers(stored)
    counts = numbers[starts + 2]
    first_of = np.cumsum(counts) - counts  # where each sketch begins among all centroids
    within = np.arange(int(counts.sum())) - np.repeat(first_of, counts)
    at_states = np.repeat(starts + _HEADER + counts - 1, counts) + within
    states = numbers[at_states]
    codes = numbers[at_states - np.repeat(counts, counts)] + np.repeat(numbers[starts + 3], counts)
    codes[first_of] = 0
    shifts = np.maximum(codes // _HALF - 1, 0)
    distances = (codes - _HALF * shifts) << shifts
    remaining = (states & _REMAINING) != 0
    (at,) = remaining.nonzero()
    if len(at):
        before = np.cumsum(remaining)  # remainders of all sketches, up to each centroid
        at_remainders = np.repeat(starts + _HEADER + 2 * counts - 2 - before[first_of] + remaining[first_of], counts)
        of_remaining = shifts[at]
        turned = _turned(numbers[(at_remainders + before)[at]], of_remaining)
        distances[at] += turned >> -of_remaining % _DIGIT_BITS
    zigzags = numbers[starts + 4]
    reached = np.cumsum(distances)  # wraps, and the difference wraps back
    places = reached + np.repeat(((zigzags >> 1) ^ -(zigzags & 1)) - reached[first_of], counts)
    means = np.ldexp(places.astype(np.float64), -np.repeat(numbers[starts], counts))
    means *= np.repeat(numbers[starts + 1], counts)
    weights = (states // _STATES).astype(np.float64)
    return means, np.where(states & _PURE, weights, -weights), (first_of + counts).tolist()


def _numbers(stored: Sequence[bytes]) -> tuple[_Integers, _Integers]:
    """All varints of all sketches, and which of them is the first of each sketch."""
    packed = np.frombuffer(b"".join(stored), np.uint8)
    lasts = packed <= _DIGIT
    (ends,) = lasts.nonzero()
    sizes = np.fromiter(map(len, stored), dtype=np.int64, count=len(stored))
    begins = np.zeros(len(ends), dtype=np.int64)
    begins[1:] = ends[:-1] + 1
    starts = np.searchsorted(begins, np.cumsum(sizes) - sizes)
    lengths = ends - begins + 1
    numbers = (packed[begins] & _DIGIT).astype(np.int64)
    for place in range(1, int(lengths.max(initial=1))):
        (longer,) = (lengths > place).nonzero()
        digits = (packed[begins[longer] + place] & _DIGIT).astype(np.int64)
        numbers[longer] |= digits << _DIGIT_BITS * place
    return numbers, starts


def _varints(pieces: Sequence[_Integers]) -> list[bytes]:
    """The varints of each piece; no number is negative."""
    numbers = np.concatenate(pieces)
    lengths = np.ones(len(numbers), dtype=np.int64)
    for place in range(1, (int(numbers.max()).bit_length() - 1) // _DIGIT_BITS + 1):
        lengths += numbers >= 1 << _DIGIT_BITS * place
    ends = np.cumsum(lengths)
    places = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
    digits = np.repeat(numbers, lengths) >> _DIGIT_BITS * places & _DIGIT | _DIGIT + 1
    digits[ends - 1] &= _DIGIT
    packed = digits.astype(np.uint8).tobytes()
    at = np.cumsum([len(piece) for piece in pieces])
    return [packed[begin:end] for begin, end in pairwise([0, *ends[at - 1].tolist()])]


def _as_doubles(means: Floats, sizes: _Integers, pure: NDArray[np.bool_]) -> bytes:
    weights = np.where(pure, sizes, -sizes)
    return _DOUBLES + means.astype(_DOUBLE).tobytes() + weights.astype(_WEIGHT).tobytes()


def _of_doubles(stored: bytes) -> Centroids:
    if not stored:
        return np.empty(0), np.empty(0)
    count = (len(stored) - 1) // (_DOUBLE.itemsize + _WEIGHT.itemsize)
    means = np.frombuffer(stored, _DOUBLE, count, 1)
    return means, np.frombuffer(stored, _WEIGHT, count, 1 + means.nbytes).astype(np.float64)
