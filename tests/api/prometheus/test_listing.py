"""Lists are whole, or cut where a limit asks for it and say so, or refused with the limit there is."""

import pytest

from api.prometheus.bad_query import BadQuery
from api.prometheus.listing import LISTED_MAX, Listed, cut, first


@pytest.mark.parametrize(
    ("wanted", "listed"),
    [
        (None, Listed([1, 2, 3, 4], False)),
        ("", Listed([1, 2, 3, 4], False)),
        ("0", Listed([1, 2, 3, 4], False)),
        ("2", Listed([1, 2], True)),
        ("4", Listed([1, 2, 3, 4], False)),
        ("9", Listed([1, 2, 3, 4], False)),
    ],
)
def test_as_many_as_are_wanted(wanted: str | None, listed: Listed) -> None:
    """A limit of none is all; a list that has exactly as many is not cut."""
    assert cut([1, 2, 3, 4], wanted) == listed


@pytest.mark.parametrize("wanted", [None, "0", str(LISTED_MAX + 1)])
def test_more_than_may_be_listed_is_refused(wanted: str | None) -> None:
    """A list that is too long is refused with the limit, unless its first entries are asked for."""
    values = list(range(LISTED_MAX + 1))
    with pytest.raises(BadQuery, match="more than 40,000 entries") as refused:
        cut(values, wanted)
    assert (refused.value.error_type, refused.value.status) == ("execution", 422)
    assert cut(values, str(LISTED_MAX)) == Listed(values[:-1], True)
    assert cut(values[:-1], wanted) == Listed(values[:-1], False)


def test_the_first_of_too_many() -> None:
    """All of a list that is too long are its first entries, as it says; more than may be listed are refused as ever."""
    values = list(range(LISTED_MAX + 1))
    for all_of_them in (None, "", "0", str(LISTED_MAX)):
        assert first(values, all_of_them) == Listed(values[:-1], True)
    assert first(values, "2") == Listed([0, 1], True)
    assert first([1, 2], None) == Listed([1, 2], False)
    with pytest.raises(BadQuery, match="more than 40,000 entries"):
        first(values, str(LISTED_MAX + 1))


def test_a_limit_is_a_number() -> None:
    """A limit that is none is refused, and named."""
    for wrong in ("-1", "many", "1.5"):
        with pytest.raises(BadQuery, match="limit"):
            cut([], wrong)
