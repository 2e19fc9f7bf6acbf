"""Two access keys for tests, and the header that carries one."""

import base64

from aggregator.access.key import new_access_key

KEY, SHOWN = new_access_key("grafana", ["acme/agents"], 1)
ROOT_KEY, ROOT_SHOWN = new_access_key("ops", None, 2)


def basic(password: str, user: str = "api") -> str:
    """The header that carries this password."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
