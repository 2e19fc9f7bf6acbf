"""Requests that the gateway refuses, and its JSON answers.

A client of Weave drops what gets a 4xx (429 excepted) and sends again what gets a 5xx: so what may pass later is never
refused for good.
"""

from collections.abc import Mapping

import msgspec
from starlette.responses import Response

# Kafka finds a new leader, and a full buffer empties, within seconds.
RETRY_AFTER_S = 2


class Refused(Exception):
    """A request that is not taken: the HTTP status, and a sentence on why."""

    def __init__(self, status: int, sentence: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.headers = headers


def try_later(status: int, sentence: str) -> Refused:
    """A refusal (429 or 503) of what may pass later, with the seconds after which to try again."""
    return Refused(status, sentence, {"Retry-After": str(RETRY_AFTER_S)})


def json_answer(status: int, body: object, headers: Mapping[str, str] | None = None) -> Response:
    """`body` as JSON."""
    return Response(msgspec.json.encode(body), status, headers, media_type="application/json")
