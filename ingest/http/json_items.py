"""The items of a list in a body, each as it came; one that is no JSON, for a NaN in it, spoils no other."""

import re
from collections.abc import Callable, Sequence

import msgspec

from ingest.decoding.json_repair import mark_unreadable, readable_json, unreadable_parts


def items_of(body: bytes, decode: Callable[[bytes], Sequence[msgspec.Raw]]) -> list[bytes]:
    """The items that `decode` finds in the body. Raises its errors, and ValueError, where there is no such list."""
    try:
        return [bytes(item) for item in decode(body)]
    except msgspec.ValidationError:
        raise
    except (msgspec.DecodeError, RecursionError) as wrong:
        marked, mark = mark_unreadable(body)
        items = [bytes(item) for item in decode(readable_json(marked))]
        if not mark:
            return items
        if sum(item.count(mark) for item in items) < marked.count(mark):
            raise ValueError(str(wrong)) from None
        parts, marks = unreadable_parts(body), re.compile(re.escape(mark))
        return [marks.sub(lambda _: next(parts), item) for item in items]
