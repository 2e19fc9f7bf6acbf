"""Reads a file of alert rules; what is wrong is told with the line and the field, all at once."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from callmeter.alerts.rules import RuleFile

# A hundred rules are 50 kB.
FILE_BYTES_MAX = 4 * 2**20
MISTAKES_MAX = 50

Place = Sequence[str | int]


class RulesWrong(Exception):
    """A file of rules cannot be used; each mistake is a sentence with its line."""

    def __init__(self, mistakes: Sequence[str]) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


def read_rule_file(path: Path) -> RuleFile:
    """The rules of a file. Raises RulesWrong."""
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except OSError as trouble:
        raise RulesWrong([f"{path}: cannot be read: {trouble.strerror}"]) from None
    if len(raw) > FILE_BYTES_MAX:
        raise RulesWrong([f"{path}: has more than {FILE_BYTES_MAX:,} bytes"])
    return rules_of(raw, str(path))


def rules_of(raw: bytes, name: str) -> RuleFile:
    """The rules that YAML states; `name` is the file's. Raises RulesWrong."""
    try:
        root = yaml.compose(raw, yaml.SafeLoader)
        given = yaml.safe_load(raw)
    except yaml.MarkedYAMLError as wrong:
        line = f"{wrong.problem_mark.line + 1}: " if wrong.problem_mark is not None else ""
        raise RulesWrong([f"{name}:{line}is no YAML: {wrong.problem or wrong.context}"]) from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as wrong:
        raise RulesWrong([f"{name}: is no YAML: {wrong}"]) from None
    twice = [f"{name}:{line}: {key} is there twice" for key, line in _twice(root)]
    if twice:
        raise RulesWrong(twice[:MISTAKES_MAX])
    try:
        rules = RuleFile.model_validate(given)
    except ValidationError as wrong:
        raise RulesWrong(
            [
                _sentence(name, root, one["loc"], _reason(one))
                for one in wrong.errors(include_url=False, include_input=False)[:MISTAKES_MAX]
            ]
        ) from None
    mistakes = [_sentence(name, root, place, sentence) for place, sentence in rules.mistakes()]
    if mistakes:
        raise RulesWrong(mistakes[:MISTAKES_MAX])
    return rules


# Pydantic's sentences name what Python calls them, a tuple or a class of ours, which no YAML has.
_OTHER_KIND = {
    "tuple_type": "is no list",
    "model_type": "is no mapping of fields",
    "model_attributes_type": "is no mapping of fields",
}


def _reason(error: Any) -> str:
    """Return what pydantic says of a field; a sentence of ours is the rest of one about the field."""
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if error["type"] == "missing":
        return "is missing"
    if error["type"] == "extra_forbidden":
        return "is no field of this"
    if error["type"] in _OTHER_KIND:
        return _OTHER_KIND[error["type"]]
    if error["type"] == "union_tag_not_found":
        return f"needs the field {error['ctx']['discriminator']}"
    message: str = error["msg"]
    return f"is wrong: {message[0].lower()}{message[1:]}"


def _sentence(name: str, root: Any, place: Place, reason: str) -> str:
    node = root
    named: list[str] = []
    for part in place:
        inner = _inner(node, part)
        if inner is None and part is not place[-1]:
            continue  # the kind of a rule, which pydantic names on the way
        if inner is not None or not _is_kind(node, part):
            named.append(f"[{part}]" if isinstance(part, int) else f".{part}" if named else str(part))
        node = node if inner is None else inner
    line = f"{node.start_mark.line + 1}: " if node is not None else " "
    return f"{name}:{line}{''.join(named) or 'the file'} {reason}"


def _inner(node: Any, part: str | int) -> Any:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == str(part)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        return node.value[part]
    return None


def _is_kind(node: Any, part: str | int) -> bool:
    """Whether a step of the way is the rule's kind or the receiver's type, which stands in the rule itself."""
    return any(getattr(_inner(node, name), "value", None) == part for name in ("kind", "type"))


def _twice(root: Any) -> Iterator[tuple[str, int]]:
    """Keys that a mapping has twice, of which YAML would take the last.

    Each node is looked at once: by aliases it may stand in many places, in itself among them.
    """
    waiting, looked_at = [root], set()
    while waiting:
        node = waiting.pop()
        if id(node) in looked_at:
            continue
        looked_at.add(id(node))
        if isinstance(node, yaml.MappingNode):
            names = [(key.value, key.start_mark.line + 1) for key, _ in node.value if isinstance(key.value, str)]
            seen: set[str] = set()
            for name, line in names:
                if name in seen:
                    yield name, line
                seen.add(name)
            waiting += [value for _, value in reversed(node.value)]
        elif isinstance(node, yaml.SequenceNode):
            waiting += reversed(node.value)
