"""A visitor gets from an alarm to the call that failed with three clicks."""

from datetime import timedelta

import pytest
from playwright.sync_api import expect

from tests.page.conftest import OpenWindow
from tests.page.history import PROJECT, call, now
from tests.pipeline.patience import wait_until
from tests.pipeline.pipeline import Pipeline

pytestmark = pytest.mark.browser

VIEW = f"?project={PROJECT}"
BURST = 300
SEEN_S_MAX = 10


def test_an_error_burst_is_found_in_three_clicks(window: OpenWindow, running: Pipeline) -> None:
    """A burst is seen while one looks; errors, the op that has most of them, its newest call: there is the id."""
    one = window()
    page = one.open(VIEW + "&kind=newest")
    before = one.total("Errors")
    at = now()
    running.produce(
        call(
            "checkout",
            at - timedelta(milliseconds=BURST - n),
            "Timeout: upstream",
            id=f"failed-{n:03}",
            wb_user_id="ann",
        )
        for n in range(BURST)
    )
    assert wait_until(lambda: one.total("Errors") == before + BURST, SEEN_S_MAX, 0.05)

    page.locator("button.tile", has_text="Errors").click()  # one: rows and calls by failure
    row = page.locator("#breakdown tbody tr", has_text="checkout")
    expect(row).to_contain_text("100%")
    row.get_by_role("button").click()  # two: only this op
    newest = page.locator("#examples li .call-head").first
    expect(newest).to_contain_text(f"failed-{BURST - 1:03}")
    expect(page.locator(".chip")).to_contain_text("checkout")
    newest.click()  # three: the call

    detail = page.locator("#examples .detail")
    expect(detail.locator("code")).to_have_text(f"failed-{BURST - 1:03}")
    expect(detail.locator("table")).to_contain_text("gpt-4o")
    expect(detail.locator("table tbody td").nth(1)).to_have_text("1,000")
    link = detail.get_by_role("link", name="Open the call")
    expect(link).to_have_attribute("href", f"https://traces.example/{PROJECT}/failed-{BURST - 1:03}")
    detail.get_by_role("button", name="Copy id").click()
    assert page.evaluate("navigator.clipboard.readText()") == f"failed-{BURST - 1:03}"
    detail.get_by_role("button", name="ann").click()
    expect(page.locator(".chip")).to_have_count(2)


def test_kinds_of_calls(window: OpenWindow, running: Pipeline) -> None:
    """Newest, slowest and dearest calls are those: the first of each is the one that was made so."""
    at = now()
    running.produce(
        [
            call(
                "slow", at - timedelta(minutes=2), id="slowest-of-all", ended_at=(at + timedelta(hours=1)).isoformat()
            ),
            call("dear", at - timedelta(minutes=1), id="dearest-of-all", summary=usage(50_000_000)),
            call("new", at, id="newest-of-all"),
        ]
    )
    page = window().open(VIEW)
    for kind in ("newest", "slowest", "dearest"):
        page.get_by_role("button", name=kind.title()).click()
        expect(page.locator("#examples li").first).to_contain_text(f"{kind}-of-all")


def usage(tokens: int) -> dict[str, object]:
    """A summary of a call that used so many tokens."""
    return {"usage": {"gpt-4o": {"prompt_tokens": tokens, "completion_tokens": 1}}}
