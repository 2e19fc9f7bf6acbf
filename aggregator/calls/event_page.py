"""The page that says what an event is, `events.md` beside this file: for /docs, for terminals, and copied in docs/."""

import re
from functools import cache
from importlib.resources import files

_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")


@cache
def event_page() -> str:
    """The page as Markdown, its links as their text: they lead to files of the repository."""
    return _LINK.sub(r"\1", files("aggregator.calls").joinpath("events.md").read_text(encoding="utf-8"))
