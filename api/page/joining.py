"""Joins the parts of the page's script into the one module that is served: no build step, one request, fewer bytes.

A part is an ES module that imports from its neighbours by lines of `import { … } from "./part.js";`. Joined, each
comes after those it imports from, its import lines and the word `export` left out; so no two parts may name the same.
"""

import re
from collections.abc import Mapping

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(\w+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=async|class|const|function|let)", re.MULTILINE)
_NAMED = re.compile(r"^(?:export )?(?:async )?(?:class|function\*?|const|let) ([\w$]+)", re.MULTILINE)


def joined(parts: Mapping[str, str], first: str) -> str:
    """The parts that the part `first` needs, and itself last, as one module.

    Raises ValueError where two parts have a name in common, or import each other in a circle.
    """
    order: list[str] = []
    _place(first, parts, order, ())
    named: dict[str, str] = {}
    for part in order:
        for name in _NAMED.findall(parts[part]):
            if name in named:
                raise ValueError(f"{named[name]}.js and {part}.js both name {name}")
            named[name] = part
    return "".join(f"// {part}\n{_EXPORT.sub('', _IMPORT.sub('', parts[part]))}\n" for part in order)


def _place(part: str, parts: Mapping[str, str], order: list[str], above: tuple[str, ...]) -> None:
    """Put the part into the order, after what it imports."""
    if part in above:
        raise ValueError(f"{' → '.join((*above, part))} is a circle")
    if part in order:
        return
    for needed in _IMPORT.findall(parts[part]):
        _place(needed, parts, order, (*above, part))
    order.append(part)
