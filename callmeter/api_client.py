"""An api asked over HTTP: its answers with how fresh they are, or one sentence that says why there is none."""

import base64
import http.client
import json
import urllib.error
import urllib.request
from typing import Any, NamedTuple

from callmeter.serving_settings import ApiSettings

ANSWER_TIMEOUT_S = 10.0

Answer = dict[str, Any]


class NotAnswered(Exception):
    """The api did not answer, or refused; the message is a sentence. `status`: 0 where nothing answered."""

    def __init__(self, sentence: str, status: int = 0) -> None:
        super().__init__(sentence)
        self.status = status


class Fresh(NamedTuple):
    """How fresh an answer is: through when events are counted (RFC 3339), how many seconds ago; None: not known."""

    as_of: str | None
    lag_s: float | None
    project_known: bool


class ApiClient:
    """An api at a URL, asked with a key where it wants one."""

    def __init__(self, url: str, key: str | None, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
        self.url = url.rstrip("/")
        self._timeout_s = timeout_s
        self._headers = {"content-type": "application/json"}
        if key:
            self._headers["authorization"] = "Basic " + base64.b64encode(f"api:{key}".encode()).decode()

    def ask(self, path: str, question: bytes | None) -> tuple[Answer, Fresh]:
        """The answer to a JSON body, or without one to a GET. Raises NotAnswered."""
        try:
            request = urllib.request.Request(f"{self.url}{path}", question, self._headers)
            with urllib.request.urlopen(request, timeout=self._timeout_s) as response:
                headers, answer = response.headers, json.load(response)
        except urllib.error.HTTPError as refused:
            with refused:
                raise NotAnswered(_sentence(refused), refused.code) from None
        except (OSError, ValueError, http.client.HTTPException) as away:
            raise NotAnswered(f"no api answers at {self.url}: {getattr(away, 'reason', away)}") from None
        lag_s = headers.get("X-Data-Lag-Seconds")
        known = headers.get("X-Project-Known") != "false"
        return answer, Fresh(headers.get("X-Data-As-Of"), None if lag_s is None else float(lag_s), known)


def own_api_url(api: ApiSettings) -> str:
    """The address of the api that the settings are of, as a process beside it reaches it."""
    host = api.host
    if host in ("0.0.0.0", "::", ""):
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{api.port}"


def _sentence(refused: urllib.error.HTTPError) -> str:
    """Return what the api said of why."""
    try:
        detail = json.load(refused)["detail"]
    except (ValueError, KeyError, TypeError):
        return f"the api answered {refused.code}"
    if isinstance(detail, str):
        return detail
    return "; ".join(f"{'.'.join(map(str, one['loc'][1:]))}: {one['msg']}".removeprefix(": ") for one in detail)
