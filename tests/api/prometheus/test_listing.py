"""Lists that are cut say so, as Prometheus' own do."""

import pytest

from api.prometheus.bad_query import BadQuery
from api.prometheus.listing import Listed, cut


@pytest.mark.parametrize(
    ("wanted", "listed"),
    [
        (None, Listed([1, 2, 3], True)),
        ("", Listed([1, 2, 3], True)),
        ("0", Listed([1, 2, 3], True)),
        ("2", Listed([1, 2], True)),
        ("9", Listed([1, 2, 3], True)),
    ],
)
def test_no_more_than_is_wanted_or_may_be(wanted: str | None, listed: Listed) -> None:
    """A limit of none is ours."""
    assert cut([1, 2, 3, 4], wanted, 3) == listed


def test_what_fits_is_whole() -> None:
    """A list that has exactly as many is not cut."""
    assert cut([1, 2, 3], None, 3) == cut([1, 2, 3], "3", 9) == Listed([1, 2, 3], False)


def test_a_limit_is_a_number() -> None:
    """A limit that is none is refused, and named."""
    for wrong in ("-1", "many", "1.5"):
        with pytest.raises(BadQuery, match="limit"):
            cut([], wrong, 3)
