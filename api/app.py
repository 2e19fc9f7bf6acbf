"""The HTTP app, wired in one place: paths and what answers them."""

from collections.abc import Callable, Sequence
from functools import partial

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from api.access.basic_auth import Access
from api.contract.docs_page import docs_page
from api.contract.openapi import openapi_document
from api.endpoints import Answers, Endpoints, Processes, readable_projects
from api.endpoints import ApiSettings as ApiSettings
from api.page.serving import page_routes
from api.prometheus.query_loop import QueryLoop
from api.prometheus.routes import prometheus_routes
from api.prometheus.store_numbers import NumbersOf, StoreNumbers
from api.refusals import json_response

# The page needs no script and nothing from elsewhere; so nothing else may run in it.
_PAGE_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


def make_app(
    answers: Answers,
    access: Access,
    settings: ApiSettings,
    numbers: NumbersOf | None = None,
    query_loop: QueryLoop | None = None,
) -> Starlette:
    """The app. Its routes share nothing but these, and the room there is for all requests.

    `numbers`: of what Prometheus queries are answered; None: they are not. They are read in the `query_loop`, by itself
    one of the app's own, so that their reader may be no other's.
    """
    endpoints = Endpoints(answers, access, settings)
    app = Starlette(
        routes=[
            *(Route(path, endpoint, methods=["POST"]) for path, endpoint in endpoints.asked_by_post.items()),
            Route("/calls/stream", endpoints.guarded(endpoints.stream), methods=["GET"]),
            Route("/projects", endpoints.guarded(endpoints.projects), methods=["GET"]),
            Route("/health", partial(_health, settings.processes)),
            Route("/ready", endpoints.guarded(endpoints.ready)),
            Route("/openapi.json", _openapi),
            Route("/docs", _docs),
            *page_routes(),
            *_prometheus_routes(endpoints, access, settings, numbers, query_loop or QueryLoop()),
        ],
        exception_handlers={HTTPException: _no_such_route},
    )
    app.router.redirect_slashes = False  # a wrong path is a 404, not a detour
    return app


def _prometheus_routes(
    endpoints: Endpoints, access: Access, settings: ApiSettings, numbers: NumbersOf | None, query_loop: QueryLoop
) -> Sequence[Route]:
    if numbers is None:
        return []

    async def opened(request: Request) -> StoreNumbers:
        reader = await access.reader(request.headers.get("authorization"))
        return numbers(settings.clock(), readable_projects(reader), reader.may_read)

    return prometheus_routes(opened, settings.clock, endpoints.guarded, query_loop)


async def _health(processes: Callable[[], Processes] | None, request: Request) -> Response:
    """Say that this process answers, and how many do on the same address."""
    told_processes = {} if processes is None else {"processes": processes()._asdict()}
    return json_response(200, {"status": "ok"} | told_processes)


async def _openapi(request: Request) -> Response:
    return json_response(200, openapi_document())


async def _docs(request: Request) -> Response:
    return HTMLResponse(docs_page(), headers=_PAGE_HEADERS)


async def _no_such_route(request: Request, refused: Exception) -> Response:
    """404 and 405, which the router raises."""
    assert isinstance(refused, HTTPException)
    return json_response(refused.status_code, {"detail": refused.detail}, refused.headers)
