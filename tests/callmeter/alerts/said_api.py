"""An api whose answers are told beforehand."""

import json
from typing import Any

from callmeter.api_client import Answer, ApiClient, Fresh, NotAnswered


class SaidApi(ApiClient):
    """An api that answers by path, or not; it notes what it was asked."""

    def __init__(self, **answers: Any) -> None:
        super().__init__("http://127.0.0.1:1", None)
        self.answers: dict[str, Any] = answers
        self.asked: list[tuple[str, Any]] = []

    def ask(self, path: str, question: bytes | None) -> tuple[Answer, Fresh]:
        name = path.strip("/").partition("?")[0].rpartition("/")[2]
        self.asked.append((name, None if question is None else json.loads(question)))
        if name not in self.answers:
            raise NotAnswered("no api answers")
        return self.answers[name], Fresh(None, None, True)
