"""Calls that share no value of any dimension."""

import json


def complete(number: int) -> bytes:
    """A call with an op and a user of its own."""
    call = {
        "project_id": "acme/agents",
        "id": f"call-{number}",
        "op_name": f"op-{number}:v1",
        "wb_user_id": f"user-{number}",
        "started_at": f"2026-03-03T10:{number % 60:02}:00Z",
        "ended_at": f"2026-03-03T10:{number % 60:02}:01Z",
        "summary": {},
    }
    return json.dumps({"complete": call}).encode()
