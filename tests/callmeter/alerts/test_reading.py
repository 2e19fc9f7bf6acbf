"""Asking an api: what it last said while it is away, odd answers, one question a look, examples of a group."""

from aggregator.time_units import SECOND_US
from callmeter.alerts.measuring import Seen
from callmeter.alerts.reading import ApiReading
from tests.callmeter.alerts.rule_files import PROJECT, rule
from tests.callmeter.alerts.said_api import SaidApi

AT_US = 1_800_000_000 * SECOND_US
AS_OF = {"projects": [{"project_id": PROJECT, "as_of": "2027-01-15T08:00:00Z"}]}
BREAKDOWN = {"total": {"count": 100, "sum_error_count": 50, "sum_call_count": 100}, "rows": []}


def test_while_the_api_is_away() -> None:
    """A rule knows nothing; staleness goes by what was said last, of a project that was heard of."""
    api = SaidApi(projects=AS_OF)
    reading = ApiReading(api)
    assert reading.as_of_us(PROJECT) == AT_US
    api.answers = {}
    assert reading.as_of_us(PROJECT) == AT_US
    assert reading.as_of_us("acme/other") is None
    assert reading.look(rule(), AT_US, AT_US).seen is None
    stale = reading.look(rule(kind="stale", above="60s"), AT_US, AT_US + 61 * SECOND_US)
    assert stale.seen == {None: Seen(61.0, True, 60)}


def test_another_project_is_not_meant() -> None:
    """The first that begins with the name may be another one."""
    other = {"projects": [{"project_id": PROJECT + "-2", "as_of": "2027-01-15T08:00:00Z"}]}
    assert ApiReading(SaidApi(projects=other)).as_of_us(PROJECT) is None


def test_an_odd_answer_is_no_answer() -> None:
    """An answer of an api of another version is no answer; the other rules are looked at all the same."""
    assert ApiReading(SaidApi(breakdown={"total": None})).look(rule(), AT_US, AT_US).seen is None


def test_each_look_asks_once() -> None:
    """Windows of any length are asked for at each look, and the seven of a burn rate at once."""
    windows = [BREAKDOWN] * 6
    api = SaidApi(breakdown=BREAKDOWN | {"windows": windows})
    reading = ApiReading(api)
    for told in (rule(), rule(window="1d"), rule(kind="burn_rate", objective=0.99)):
        api.asked.clear()
        for _ in range(3):
            assert reading.look(told, AT_US, AT_US).seen
        assert len(api.asked) == 3


def test_examples_are_of_the_group() -> None:
    """Examples are found by the group's filter where there is one; for a model, which has none, by looking at the
    calls."""
    calls = [{"id": f"c{number}", "models": ["m" if number % 2 else "n"]} for number in range(10)]
    api = SaidApi(examples={"calls": calls})
    reading = ApiReading(api)
    reading.examples(rule(group_by="op_name", filter={"wb_user_ids": ["ann"]}), "chat", AT_US)
    [(_, asked)] = api.asked
    assert (asked["kind"], asked["limit"]) == ("failing", 3)
    assert asked["filter"] == {"op_names": ["chat"], "wb_user_ids": ["ann"]}
    assert reading.examples(rule(group_by="model"), "m", AT_US) == ["c1", "c3", "c5"]
    api.answers = {}
    assert reading.examples(rule(), None, AT_US) == ()
    api.asked.clear()
    assert reading.examples(rule(kind="no_data", window="5m"), None, AT_US) == ()
    assert not api.asked
