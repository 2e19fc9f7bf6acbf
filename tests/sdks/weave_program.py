"""Traces with Weave's Python SDK: nested ops, an answer like OpenAI's, an exception, a thread of each kind."""

import contextlib
import json
import sys
import threading
from typing import Any

import weave

ANSWER = {
    "model": "gpt-4o",
    "choices": [],
    "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
}


@weave.op
def llm(prompt: str) -> dict[str, Any]:
    """Answers as a client of OpenAI."""
    return ANSWER


@weave.op
def tool(prompt: str) -> dict[str, Any]:
    """Asks the model once."""
    return llm(prompt)


@weave.op
def agent(prompt: str) -> str:
    """Asks the model twice: by the tool and by itself."""
    tool(prompt)
    llm(prompt)
    return "done"


@weave.op
def broken(prompt: str) -> None:
    """Fails."""
    raise ValueError(prompt)


def main() -> None:
    """Four agents, of which one in a thread of Weave and one in a thread of Python, and a call that fails."""
    weave.init("ent/proj")
    agent("hello")
    with contextlib.suppress(ValueError):
        broken("no")
    with weave.thread("conversation"):
        agent("again")
    thread = threading.Thread(target=agent, args=("aside",))
    thread.start()
    thread.join()
    weave.finish()
    sys.stdout.write("\n" + json.dumps({"calls": 3 * 4 + 1, "errors": 1, "leaves": 3 * 2}) + "\n")


main()
