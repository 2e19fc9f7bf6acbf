"""The shape of a JSON document of Prometheus' API, to be compared with another one's."""

import json
from typing import Any


def shape(value: Any, name: str = "") -> Any:
    """Returns what kind of document it is: labels may be any, numbers any, and of a list's elements each kind counts
    once."""
    if name in ("metric", "seriesLabels", "labels", "annotations") and isinstance(value, dict):
        return "labels"
    if isinstance(value, dict):
        return {key: shape(one, key) for key, one in value.items()}
    if isinstance(value, list):
        kinds = {json.dumps(shape(one), sort_keys=True) for one in value}
        return [json.loads(one) for one in sorted(kinds)]
    return "number" if isinstance(value, int | float) else type(value).__name__
