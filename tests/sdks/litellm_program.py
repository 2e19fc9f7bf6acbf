"""Calls of LiteLLM, answered by its mocks, and told by its generic API logger to whom its environment says.

Prints what it did: {"calls", "errors", "leaves"}; a mocked answer has used 30 tokens, which are two leaves' worth.
"""

import asyncio
import json

import litellm
from litellm.integrations.generic_api.generic_api_callback import GenericAPILogger

ANSWERED = 5
MESSAGES = [{"role": "user", "content": "hi"}]


async def main() -> None:
    """Ask, fail, and send what was noted."""
    logger = GenericAPILogger()
    litellm.callbacks = [logger]
    for _ in range(ANSWERED):
        await litellm.acompletion(model="gpt-4o", messages=MESSAGES, mock_response="hello there")
    try:
        await litellm.acompletion(model="gpt-4o", messages=MESSAGES, mock_response=Exception("boom"), num_retries=0)
    except Exception as failed:
        assert "boom" in str(failed)  # noqa: PT017  no test: it must not fail otherwise
    while len(logger.log_queue) < ANSWERED + 1:  # it is told of calls a moment after they are answered
        await asyncio.sleep(0.05)
    await logger.flush_queue()
    print(json.dumps({"calls": ANSWERED + 1, "errors": 1, "leaves": 2 * ANSWERED}))  # noqa: T201  it is read


asyncio.run(main())
