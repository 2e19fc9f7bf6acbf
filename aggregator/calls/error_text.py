"""What the end of a failed call says of its failure: the beginning of the text, and the class of error it names.

Producers write `ValueError: no such model`, a traceback's last line, or, as Weave's SDK does, a JSON object
`{"type": "ValueError", "message": "no such model", "traceback": ...}`.
"""

import re

import msgspec

# What is taken of a text at most, whatever is kept of it (CALLMETER_KEEP__ERROR_TEXT): a sentence or two.
ERROR_BYTES_MAX = 1_000
# Longer words are no names of classes; those with all their packages have some 60 characters.
CLASS_CHARACTERS_MAX = 100

_CLASS = re.compile(r"[A-Za-z_][\w.$<>\[\]-]*", re.ASCII)
_CLASS_ENDS = re.compile(r"[:\n\r(]")


class _ErrorJson(msgspec.Struct, gc=False):
    type: str = ""
    message: str = ""


def error_text(exception: str) -> str | None:
    """The beginning of what an exception says, ERROR_BYTES_MAX at most; None of one that says nothing."""
    if not exception or exception.isspace():
        return None
    if exception.startswith("{"):
        try:
            said = msgspec.json.decode(exception, type=_ErrorJson)
        except (msgspec.DecodeError, RecursionError):
            return cut(exception, ERROR_BYTES_MAX)
        named = ": ".join(part for part in (said.type, said.message) if part)
        return cut(named or exception, ERROR_BYTES_MAX)
    return cut(exception, ERROR_BYTES_MAX)


def error_class(text: str | None) -> str | None:
    """The class of error that a text begins with, `ValueError` of `ValueError: not this`; None where it has none."""
    if not text:
        return None
    word = _CLASS_ENDS.split(text, maxsplit=1)[0].strip()
    return word if len(word) <= CLASS_CHARACTERS_MAX and _CLASS.fullmatch(word) else None


def cut(text: str, bytes_max: int) -> str:
    """The beginning of a text, so many bytes of UTF-8 at most."""
    if len(text) * 4 <= bytes_max:
        return text
    return text[:bytes_max].encode("utf-8", "surrogatepass")[:bytes_max].decode("utf-8", "ignore")
