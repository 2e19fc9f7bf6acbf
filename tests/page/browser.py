"""Chromium as an engineer's browser: it notes every fault that a page must not have."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Literal

from playwright.sync_api import Browser, Error, Page, expect, sync_playwright

from tests.conftest import CHROMIUM_NAMES
from tests.pipeline.patience import wait_until

CHROMIUM = next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)

# A page of our own on loopback is all it shall see; what it would ask of its maker is turned off.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Generous: where a time is what a test is about, the test says it.
WAIT_MS = 30_000
REPORT_MS = 1_000
expect.set_options(timeout=WAIT_MS)

Scheme = Literal["light", "dark"]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser, until left. Only one at a time in a thread, and no event loop beside it."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


class Window:
    """One window on the page at `url`; `faults` are what no visit may bring about, in words.

    `said`: what the console said, and which requests came to nothing, allowed or not, for whoever asks why.
    """

    def __init__(self, browser: Browser, url: str, width: int, height: int, scheme: Scheme, zone: str) -> None:
        self.url = url
        self.faults: list[str] = []
        self.said: list[str] = []
        self.context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, timezone_id=zone, accept_downloads=True
        )
        self.context.grant_permissions(["clipboard-read", "clipboard-write"])
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(WAIT_MS)
        self.page.on("request", lambda request: self._noted_request(request.url))
        self.page.on("console", lambda said: self._noted_console(said.type, said.text))
        self.page.on("requestfailed", lambda request: self._say(f"{request.method} {request.url}: {request.failure}"))
        self.page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        # A policy that is broken is told to the document; where scripts are refused the console has it too.
        self.page.add_init_script(
            "document.addEventListener('securitypolicyviolation', (event) => "
            "console.error('policy broken: ' + event.violatedDirective + ' ' + event.blockedURI))"
        )
        # What a status says is told apart from what a script says: refusals that a test provokes are no fault.
        self.allowed: tuple[str, ...] = ()

    def open(self, query: str = "") -> Page:
        """Go there, and return when the first answer is drawn."""
        self.page.goto(f"{self.url}/{query}")
        return self.settled()

    def settled(self) -> Page:
        """The page, once its panels and its breakdown show an answer."""
        self.page.wait_for_selector("#totals .tile")
        self.page.wait_for_selector("#breakdown tbody tr, #breakdown .empty")
        self.page.wait_for_selector("#examples li")
        self.wait_until("!document.body.classList.contains('asking')")
        return self.page

    def wait_until(self, condition: str) -> None:
        """Return when this JavaScript holds; asked from outside: the policy forbids what Playwright polls by."""
        assert wait_until(lambda: bool(self.page.evaluate(condition)), WAIT_MS / 1_000, 0.05), condition

    def total(self, label: str) -> int:
        """The exact number of a tile."""
        number = self.page.locator("#totals .tile", has_text=label).locator(".big").first.get_attribute("title")
        return int((number or "-1").replace(",", ""))

    def answers_ms(self) -> list[float]:
        """Returns how long each drawing took, from an answer to its picture."""
        found: list[float] = self.page.evaluate(
            "performance.getEntriesByName('answer to drawn').map((entry) => entry.duration)"
        )
        return found

    def close(self) -> None:
        """Close it; fails when there was any fault."""
        self.page.unroute_all(behavior="ignoreErrors")
        self.context.close()
        assert not self.faults, "\n".join([*self.faults, "All that was said:", *self.said])

    def report(self) -> str:
        """Return what it shows, and all that was said until now."""
        try:
            shown: str = self.page.locator("body").inner_text(timeout=REPORT_MS)
        except Error as trouble:
            shown = str(trouble)
        return "\n".join([f"{self.page.url} shows:", shown, "Its console and its requests said:", *self.said])

    def _noted_request(self, url: str) -> None:
        if not url.startswith((self.url, "blob:", "data:")):
            self.faults.append(f"asked elsewhere: {url}")

    def _say(self, what: str) -> None:
        self.said.append(f"{datetime.now(UTC):%H:%M:%S.%f} {what}")

    def _noted_console(self, kind: str, text: str) -> None:
        self._say(f"console {kind}: {text}")
        if kind in ("error", "warning") and not any(allowed in text for allowed in self.allowed):
            self.faults.append(f"console {kind}: {text}")


def violations(page: Page, script: str) -> list[str]:
    """Returns what axe-core finds that is serious or critical, each as a sentence with the places."""
    page.evaluate(script)
    found: list[dict[str, Any]] = page.evaluate("async () => (await axe.run()).violations")
    return [
        f"{one['id']} ({one['impact']}): {one['help']}: {[node['target'] for node in one['nodes']]}"
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
