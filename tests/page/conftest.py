"""A worker and an api with an hour of calls behind it and a browser before it, for all tests of the page."""

from collections.abc import Callable, Generator, Iterator
from importlib import resources

import pytest
from playwright.sync_api import Browser

from tests.page.browser import Scheme, Window, chromium
from tests.page.history import now, past
from tests.pipeline.pipeline import Api, Pipeline
from tests.servers.redis_server import RedisServer

OpenWindow = Callable[..., Window]
OPENED = pytest.StashKey[list[Window]]()
SETTINGS = {"LINK__CALL": "https://traces.example/{project_id}/{call_id}"}


@pytest.fixture(scope="module")
def running(
    bootstrap_servers: str, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Pipeline]:
    """A worker that has folded the past hour, and goes on; the module's own namespace, so nobody empties it."""
    with Pipeline(tmp_path_factory.mktemp("service"), bootstrap_servers, redis_server.url, SETTINGS) as pipeline:
        pipeline.create_topic()
        pipeline.produce(past(now()))
        pipeline.start_worker()
        pipeline.wait_until_applied()
        yield pipeline


@pytest.fixture(scope="module")
def api(running: Pipeline) -> Api:
    """An api of it, without keys."""
    return running.start_api()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, for the module; ended with it, since its event loop would be in the way of other tests."""
    with chromium() as started:
        yield started


@pytest.fixture
def window(browser: Browser, api: Api, request: pytest.FixtureRequest) -> Iterator[OpenWindow]:
    """Opens windows; each is closed at the end of the test, which fails if the page did anything it must not."""
    opened = request.node.stash[OPENED] = list[Window]()

    def open_window(
        width: int = 1440, height: int = 1000, scheme: Scheme = "light", zone: str = "UTC", url: str = ""
    ) -> Window:
        opened.append(Window(browser, url or f"http://127.0.0.1:{api.port}", width, height, scheme, zone))
        return opened[-1]

    yield open_window
    for one in opened:
        one.close()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell, of a test that fails, what its windows show and what their consoles said: it may not happen again soon."""
    report = yield
    if report.when == "call" and report.failed:
        report.sections += [("window", one.report()) for one in item.stash.get(OPENED, [])]
    return report


@pytest.fixture(scope="session")
def axe() -> str:
    """The text of axe-core."""
    return (resources.files("axe_playwright_python") / "axe.min.js").read_text()
