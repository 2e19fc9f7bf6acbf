"""Finds the refs in a call's inputs or output without decoding them: they can be megabytes and are never stored."""

import re

import msgspec

# A ref is a URI of an object version; Weave's own have some 200 bytes. A longer one would have to be stored whole
# for filters to find it, so it makes its event invalid rather than being cut.
REF_BYTES_MAX = 4096
# Distinct refs of the inputs, or of the output, of one call: each is looked up and written by itself.
REFS_OF_CALL_MAX = 10_000

_PREFIXES = ("weave:///", "weave-trace-internal:///", "wandb-artifact:///")


def _spellings(character: str) -> str:
    r"""A pattern for the character in a JSON string: itself, `\u0077`, and `\/` for the slash."""
    solidus = r"|\\/" if character == "/" else ""
    return rf"(?:{re.escape(character)}|(?i:\\u{ord(character):04x}){solidus})"


# A JSON string that begins with a prefix and is no key. A quote that opens a string never follows a backslash, an
# escaped one always does, and one that closes a string is never followed by `w` or a backslash. All else is left at
# the second character, so that searching costs about half a nanosecond per byte.
_REF_STRING = re.compile(
    (
        r'"(?=[w\\])(?<!\\")(?:' + "|".join("".join(map(_spellings, prefix)) for prefix in _PREFIXES) + ")"
        r'[^"\\]*+(?:\\.[^"\\]*+)*+"(?![ \t\r\n]*+:)'
    ).encode()
)


def refs_in(value: bytes | msgspec.Raw) -> tuple[str, ...]:
    """The refs among the strings of one JSON value, keys of objects excepted; each once, in order of appearance.

    `value` must be valid JSON, or empty. Raises ValueError beyond the limits.
    """
    if _REF_STRING.search(value) is None:
        return ()
    refs: dict[str, None] = {}
    for token in _REF_STRING.finditer(bytes(value)):
        ref = msgspec.json.decode(token[0], type=str)
        if len(ref) * 4 > REF_BYTES_MAX and len(ref.encode()) > REF_BYTES_MAX:
            raise ValueError(f"a ref is longer than {REF_BYTES_MAX} bytes")
        refs[ref] = None
        if len(refs) > REFS_OF_CALL_MAX:
            raise ValueError(f"it holds more than {REFS_OF_CALL_MAX:,} refs")
    return tuple(refs)
