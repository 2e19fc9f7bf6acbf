"""What an engineer does on the page: looks, filters, zooms, goes back, shares the address; in a real Chromium."""

import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.page.browser import WAIT_MS, Window
from tests.page.conftest import OpenWindow
from tests.page.history import PROJECT, call, now
from tests.pipeline.patience import wait_until
from tests.pipeline.pipeline import Api, Pipeline

pytestmark = pytest.mark.browser

VIEW = f"?project={PROJECT}"
# An hour that has passed: what is asked of it twice is the same.
CHAT = f"weave:///{PROJECT}/op/llm.chat:v1"


def counted(api: Api, filter_: dict[str, Any] | None = None, window: dict[str, str] | None = None) -> tuple[int, int]:
    """Calls and errors of a window, by default all there are, as /calls/stats has them."""
    question = {
        "project_id": PROJECT,
        "start": "2020-01-01T00:00:00Z",
        "granularity": 10_000_000_000,
        "call_metrics": [{"metric": "call_count"}, {"metric": "error_count"}],
        "filter": filter_,
    } | (window or {})
    rows = api.ask("/calls/stats", question).json()["call_buckets"]
    return sum(row["sum_call_count"] for row in rows), sum(row["sum_error_count"] for row in rows)


def shows(window: Window, calls: int) -> bool:
    """Whether the page comes to show so many calls."""
    return wait_until(lambda: window.total("Calls") == calls, WAIT_MS / 1_000, 0.05)


def test_it_shows_what_the_endpoints_answer(window: OpenWindow, api: Api) -> None:
    """Opened without a word, it shows the one project there is, and its numbers are those of /calls/stats."""
    one = window()
    page = one.open()
    calls, errors = counted(api)
    assert PROJECT in page.title()
    page.goto(f"{one.url}/{VIEW}&from=-3h")
    one.settled()
    assert shows(one, calls)
    assert one.total("Errors") == errors
    expect(page.locator(".panel")).to_have_count(5)
    assert page.locator(".panel canvas").count() == 5
    expect(page.locator("#freshness")).to_contain_text(re.compile(r"as of \d\d:\d\d:\d\d"))
    first = page.locator("#breakdown tbody tr").first
    expect(first).to_contain_text("llm.chat")
    row = api.ask(
        "/calls/breakdown", {"project_id": PROJECT, "start": "-3h", "dimension": "op_name", "limit": 1}
    ).json()["rows"][0]
    expect(first.locator("td.number").first).to_have_attribute("title", f"{row['count']:,}")


def test_a_filter(window: OpenWindow, api: Api) -> None:
    """`/`, some letters, return: the op is a chip, the numbers are its own, and without the chip all are back."""
    one = window()
    page = one.open(VIEW + "&from=-3h")
    everything = one.total("Calls")
    page.keyboard.press("/")
    page.keyboard.type("op: llm")
    page.get_by_role("option", name=re.compile("llm.chat")).first.wait_for()
    page.keyboard.press("Enter")
    expect(page.locator(".chip")).to_have_text(re.compile("op.*llm.chat"))
    assert shows(one, counted(api, {"op_names": [CHAT]})[0])
    assert "op=weave:///acme/agents/op/llm.chat:v1" in page.url
    page.get_by_role("button", name="Remove the filter op").click()
    assert shows(one, everything)
    expect(page.locator(".chip")).to_have_count(0)


def test_a_row_filters_and_back_goes_back(window: OpenWindow, api: Api) -> None:
    """A click on a row of the breakdown is a filter; the browser's back undoes it."""
    one = window()
    page = one.open(VIEW + "&from=-3h&by=wb_user_id")
    everything = one.total("Calls")
    name = page.locator("#breakdown tbody .link").first
    user = name.inner_text()
    name.click()
    expect(page.locator(".chip")).to_contain_text(user)
    assert shows(one, counted(api, {"wb_user_ids": [user]})[0])
    page.go_back()
    expect(page.locator(".chip")).to_have_count(0)
    assert shows(one, everything)


def dragged(page: Page, panel: str, begin: float, end: float) -> None:
    """Drag over a part of a panel's chart, from one share of its width to another."""
    box = page.locator(f".panel.{panel} .u-over").bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + begin * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + end * box["width"], y, steps=5)
    page.mouse.up()


def test_zooming(window: OpenWindow, api: Api) -> None:
    """Dragging over a chart chooses its range, to the minute, on all panels; `[` goes earlier, `]` to the present."""
    one = window()
    page = one.open(VIEW)
    dragged(page, "latency", 0.25, 0.5)
    one.wait_until("location.search.includes('to=')")
    begin, end = (re.search(rf"{word}=(\S+?Z)", page.url) for word in ("from", "to"))
    assert begin
    assert end
    one.settled()
    calls, errors = counted(api, window={"start": begin[1], "end": end[1]})
    assert 0 < calls < counted(api)[0]
    assert shows(one, calls)
    assert one.total("Errors") == errors
    expect(page.locator("#live")).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("[")
    one.wait_until(f"location.search.includes('to={begin[1]}')")
    page.keyboard.press("]")
    one.wait_until(f"location.search.includes('to={end[1]}')")
    page.keyboard.press("l")
    expect(page.locator("#live")).to_have_attribute("aria-pressed", "true")


def test_a_reload_keeps_the_view(window: OpenWindow) -> None:
    """The address is the view: project, range, zone, filters, order, examples, tables, comparison."""
    one = window()
    page = one.open(VIEW)
    dragged(page, "calls", 0.2, 0.9)
    one.wait_until("location.search.includes('to=')")
    one.settled()
    for key in ("3", "c"):
        page.keyboard.press(key)
    page.get_by_role("button", name="Errors").nth(1).click()
    page.get_by_role("button", name="Newest").click()
    page.get_by_role("button", name="Latency: Table").click()
    page.locator("#breakdown tbody .link").first.click()
    one.settled()

    def seen() -> list[Any]:
        one.settled()
        return [
            page.url,
            page.locator("#range").inner_text(),
            page.locator(".chip").all_inner_texts(),
            one.total("Calls"),
            page.locator("#breakdown th[aria-sort]").inner_text(),
            page.locator("#breakdown tbody th").all_inner_texts(),
            page.locator("#compare").get_attribute("aria-pressed"),
            page.locator(".latency .table").is_visible(),
            page.locator("#examples .tab[aria-pressed=true]").inner_text(),
        ]

    expect(page.locator(".chip")).to_have_count(1)
    page.wait_for_timeout(1_500)
    before = seen()
    page.reload()
    page.wait_for_timeout(1_500)
    assert seen() == before
    assert before[6:] == ["true", True, "Newest"]


def test_a_call_is_seen(window: OpenWindow, running: Pipeline) -> None:
    """The page that is open shows a call that comes, in totals and row; how soon, tests of what is live say."""
    one = window()
    page = one.open(VIEW)
    before = one.total("Calls")
    running.produce([call("just-now", now())])
    assert shows(one, before + 1)
    expect(page.locator("#breakdown")).to_contain_text("just-now")


def test_table_csv_and_curl(window: OpenWindow, api: Api, tmp_path: Path) -> None:
    """Each panel is a table too, a CSV with the numbers as they are, and a command line that asks the same."""
    one = window()
    page = one.open(VIEW)
    dragged(page, "calls", 0.3, 0.6)
    one.wait_until("location.search.includes('to=')")
    one.settled()
    page.get_by_role("button", name="Calls and errors: curl").click()
    command = shlex.split(page.evaluate("navigator.clipboard.readText()"))
    assert command[0] == "curl"
    answer = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=30).stdout)
    with page.expect_download() as download:
        page.get_by_role("button", name="Calls and errors: CSV").click()
    path = tmp_path / "panel.csv"
    download.value.save_as(path)
    assert download.value.suggested_filename == "acme-agents-calls.csv"
    rows = [line.split(",") for line in path.read_text().splitlines()]
    assert rows[0] == ["timestamp", "failed", "not failed"]
    assert [(row[0], int(row[1]), int(row[1]) + int(row[2])) for row in rows[1:]] == [
        (row["timestamp"], row["sum_error_count"], row["sum_call_count"]) for row in answer["call_buckets"]
    ]
    page.get_by_role("button", name="Calls and errors: Table").click()
    cells = page.locator(".panel.calls tbody tr")
    expect(cells).to_have_count(len(rows) - 1)
    assert cells.last.locator("td").all_inner_texts() == [f"{int(count):,}" for count in rows[1][1:]]


def test_the_zone(window: OpenWindow) -> None:
    """The clock is the browser's own until another is chosen; then buckets and times are that zone's."""
    one = window(zone="Asia/Kolkata")
    page = one.open(VIEW + "&from=-1d")
    expect(page.locator("#range")).to_contain_text("UTC+5:30")
    page.keyboard.press("t")
    page.get_by_role("combobox", name="Time zone").fill("katmandu")
    # By its name: until the list follows what was typed, its first entry is another zone.
    page.get_by_role("option", name="Asia/Kat").first.click()
    expect(page.locator("#range")).to_contain_text("UTC+5:45")
    one.settled()
    page.get_by_role("button", name="Calls and errors: curl").click()
    assert json.loads(shlex.split(page.evaluate("navigator.clipboard.readText()"))[-1])["timezone"].startswith(
        "Asia/Kat"
    )
