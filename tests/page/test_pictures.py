"""The pictures of the documentation: what the page looks like, taken where everything else about it is tested.

`CALLMETER_TEST_PICTURES=docs/images` puts them there; else they are taken, looked over, and forgotten.
"""

import os
from datetime import timedelta
from pathlib import Path

import pytest

from tests.page.browser import Scheme
from tests.page.conftest import OpenWindow
from tests.page.history import PROJECT, call, now
from tests.pipeline.pipeline import Pipeline
from tests.support.paths import ROOT

pytestmark = pytest.mark.browser

PICTURE_BYTES_MAX = 300_000
FOLDER = os.environ.get("CALLMETER_TEST_PICTURES")


@pytest.mark.parametrize(
    ("name", "width", "height", "scheme"),
    [("light", 1440, 1560, "light"), ("dark", 1440, 1000, "dark"), ("phone", 390, 1560, "light")],
)
def test_pictures(
    window: OpenWindow, running: Pipeline, tmp_path: Path, name: str, width: int, height: int, scheme: Scheme
) -> None:
    """Each is a picture of a page that is full, and small enough to load with a text."""
    at = now()
    error = "RateLimitError: 429 from anthropic, try again later"
    running.produce(call("llm.chat", at - timedelta(seconds=7 * n), error, id=f"{name}-{n}") for n in range(5))
    one = window(width=width, height=height, scheme=scheme)
    page = one.open(f"?project={PROJECT}{'&compare=1' if scheme == 'dark' else ''}")
    page.wait_for_selector("#breakdown .spark")
    one.wait_until("document.querySelectorAll('#breakdown td.trend:empty').length <= 2")
    path = (ROOT / FOLDER if FOLDER else tmp_path) / f"page-{name}.png"
    page.screenshot(path=path)
    assert 20_000 < path.stat().st_size < PICTURE_BYTES_MAX
