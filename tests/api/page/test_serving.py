"""The page as it goes out: compressed, cached, small, and under a policy that lets nothing else in."""

import gzip
import re

import pytest

from api.page.serving import page_files
from tests.support.asking import app_of, ask

PAGE_BYTES_MAX = 60_000


def test_the_front() -> None:
    """`/` is the page, to anyone, under a policy that allows only what this server sends."""
    front = ask(app_of(), "GET", "/")
    assert front.status_code == 200
    assert front.headers["content-type"] == "text/html; charset=utf-8"
    policy = dict(part.strip().partition(" ")[::2] for part in front.headers["content-security-policy"].split(";"))
    assert policy.pop("default-src") == "'none'"
    assert policy.pop("require-trusted-types-for") == "'script'"
    assert set(policy.values()) == {"'self'", "'none'"}
    assert not re.search(r"<style|style=|<script(?! src=)| on\w+=|https?://", front.text)


def test_all_it_names_is_there() -> None:
    """Every file that the page, its style or its script names is served, as what it is."""
    named = re.findall(r'(?:src|href)="(/page/[^"]+)"', ask(app_of(), "GET", "/").text)
    assert len(named) >= 5
    for path in named:
        response = ask(app_of(), "GET", path)
        assert response.status_code == 200, path
        assert response.headers["x-content-type-options"] == "nosniff"
    assert ask(app_of(), "GET", "/page/page.js").headers["content-type"] == "text/javascript; charset=utf-8"


def test_the_page_is_small() -> None:
    """All that a browser loads is under 60 kB compressed."""
    loaded = {path: len(file.gzipped) for path, file in page_files().items() if not path.endswith("LICENSE")}
    assert sum(loaded.values()) < PAGE_BYTES_MAX, loaded


def test_compression() -> None:
    """A client that takes gzip gets it; one that does not gets the same bytes."""
    packed = ask(app_of(), "GET", "/page/page.css", headers={"accept-encoding": "gzip"})
    plain = ask(app_of(), "GET", "/page/page.css", headers={"accept-encoding": "identity"})
    assert (packed.headers["content-encoding"], packed.headers["vary"]) == ("gzip", "Accept-Encoding")
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content == gzip.decompress(page_files()["page.css"].gzipped)
    assert len(page_files()["page.css"].gzipped) < len(plain.content) / 2


@pytest.mark.parametrize(
    ("path", "cached"),
    [("/", "no-cache"), ("/page/page.js", "no-cache"), ("/page/vendor/uPlot-1.6.32.iife.min.js", "immutable")],
)
def test_caching(path: str, cached: str) -> None:
    """A file that a browser has is not sent again; one that carries its version in its name is not even asked for."""
    first = ask(app_of(), "GET", path)
    assert cached in first.headers["cache-control"]
    again = ask(app_of(), "GET", path, headers={"if-none-match": f'"other", W/{first.headers["etag"]}'})
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert ask(app_of(), "GET", path, headers={"if-none-match": '"other"'}).status_code == 200


@pytest.mark.parametrize("path", ["nothing.js", "../serving.py", "%2e%2e/serving.py", "vendor/", ""])
def test_what_is_no_file_of_the_page(path: str) -> None:
    """Only the page's own files are served; a path is never looked up on the disk."""
    assert ask(app_of(), "GET", f"/page/{path}").status_code == 404


def test_vendored_files_have_their_licence() -> None:
    """Each vendored library stands there by name and version, with its licence."""
    vendored = {path for path in page_files() if path.startswith("vendor/")}
    names = {match[1] for path in vendored if (match := re.match(r"vendor/(\w+-\d+\.\d+\.\d+)\.", path))}
    assert names == {"uPlot-1.6.32"}
    assert all(f"vendor/{name}.LICENSE" in vendored for name in names)
    assert (
        f"uPlot (v{next(iter(names)).partition('-')[2]})"
        in page_files()["vendor/uPlot-1.6.32.iife.min.js"].content.decode()
    )
