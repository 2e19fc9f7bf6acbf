"""When not all is well: keys, wrong names, an api that goes away, answers that are old."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Route, expect

from tests.page.conftest import OpenWindow
from tests.page.history import PROJECT, now
from tests.pipeline.operator import operate
from tests.pipeline.pipeline import Api, Pipeline

pytestmark = pytest.mark.browser

VIEW = f"?project={PROJECT}"


@pytest.fixture
def locked(running: Pipeline, tmp_path: Path) -> Iterator[Api]:
    """An api of what runs that asks for keys."""
    api = Api({**running.settings, "API__AUTH": "true"}, tmp_path / "locked.log")
    api.start()
    yield api
    api.stop()


def test_the_key_is_asked_for_and_kept_for_the_session(locked: Api, window: OpenWindow, running: Pipeline) -> None:
    """A wrong key is told so, the right one opens the page and outlives a reload; another tab has to ask again."""
    key = operate(running.settings, "keys", "create", "--name", "page", "--project", PROJECT).output.strip()
    url = f"http://127.0.0.1:{locked.port}"
    one = window(url=url)
    one.allowed = ("401",)
    page = one.page
    page.goto(f"{url}/{VIEW}")
    box = page.get_by_label("A key that may read")
    box.fill("cm_wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_have_text("The api does not know that key.")
    box.fill(key)
    page.keyboard.press("Enter")
    one.settled()
    assert one.total("Calls") > 0
    page.reload()
    one.settled()
    assert page.evaluate("[document.cookie, Object.values(localStorage).join()]") == ["", ""]
    page.get_by_role("button", name="Calls and errors: curl").click()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert '-u "api:$KEY"' in copied
    assert key not in copied
    another = window(url=url)
    another.allowed = ("401",)
    another.page.goto(f"{url}/{VIEW}")
    expect(another.page.get_by_label("A key that may read")).to_be_visible()


def test_a_wrong_name_is_no_quiet_project(window: OpenWindow) -> None:
    """A project that nobody has sent events of is said to be unknown, not shown as one where nothing happens."""
    page = window().open("?project=acme/agnets")
    expect(page.locator("#notice")).to_contain_text("No event of acme/agnets has been seen")
    expect(page.locator("#freshness")).to_have_class(re.compile("bad"))
    page.get_by_role("combobox", name="Project").click()
    page.get_by_role("option", name=PROJECT).click()
    expect(page.locator("#notice")).to_be_hidden()
    expect(page.locator("#breakdown tbody")).to_contain_text("llm.chat")


def test_nothing_in_the_range(window: OpenWindow) -> None:
    """Each part says in words that there were no calls."""
    begin = now().replace(minute=0, second=0, microsecond=0) - timedelta(days=20)
    edges = [at.strftime("%Y-%m-%dT%H:%M:%SZ") for at in (begin, begin + timedelta(hours=1))]
    page = window().open(f"{VIEW}&from={edges[0]}&to={edges[1]}")
    expect(page.locator(".panel .empty:visible").first).to_have_text("No calls in this range.")
    expect(page.locator("#breakdown")).to_contain_text("No calls in this range.")


def test_old_answers_are_told(window: OpenWindow) -> None:
    """Answers that are older than they should be are called stale, in words and in red."""
    one = window()

    def aged(route: Route) -> None:
        response = route.fetch()
        headers = response.headers | {"x-data-as-of": "2026-06-10T12:00:00Z", "x-data-lag-seconds": "7300.5"}
        route.fulfill(response=response, headers=headers)

    one.page.route("**/calls/stats", aged)
    one.page.route("**/calls/breakdown", aged)
    one.page.route("**/calls/examples", aged)
    page = one.open(VIEW)
    expect(page.locator("#freshness")).to_have_text(re.compile(r"Stale: as of 12:00:\d\d2 h behind"))
    expect(page.locator("#freshness")).to_have_class("freshness bad")


def test_an_api_that_goes_away_and_comes_back(window: OpenWindow, running: Pipeline) -> None:
    """The page keeps what it shows while the api is away, tells the trouble, and goes on by itself when the api is
    back."""
    api = running.start_api()
    one = window(url=f"http://127.0.0.1:{api.port}")
    # How a browser calls it that nobody is there, or that an answer ended early, with a length or without one.
    gone = ("CONNECTION_REFUSED", "CONNECTION_RESET", "EMPTY_RESPONSE", "INCOMPLETE_CHUNKED", "CONTENT_LENGTH_MISMATCH")
    one.allowed = tuple(f"ERR_{what}" for what in gone)
    page = one.open(VIEW)
    api.program.kill()
    expect(page.locator("#notice")).to_have_text("The api cannot be reached.")
    assert one.total("Calls") > 0
    api.start()
    expect(page.locator("#notice")).to_be_hidden(timeout=30_000)


def test_an_answer_that_is_cut_off(window: OpenWindow) -> None:
    """The page says of half an answer what it says of none, without the browser's own words."""
    one = window()

    def cut(route: Route) -> None:
        body = route.fetch().body()
        route.fulfill(status=200, content_type="application/json", body=body[: len(body) // 2])

    one.page.route("**/projects", cut)
    one.page.goto(one.url)
    expect(one.page.locator("#notice")).to_have_text("The api cannot be reached.")


def test_refused_questions_are_told(window: OpenWindow) -> None:
    """A question that the api refuses is told in the api's own words."""
    one = window()
    one.allowed = ("422",)
    one.page.goto(f"{one.url}/{VIEW}{''.join(f'&user={number}' for number in range(1_001))}")
    expect(one.page.locator("#notice")).to_contain_text("filter.wb_user_ids")
