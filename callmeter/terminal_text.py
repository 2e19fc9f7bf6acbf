"""Foreign text before it is written to a terminal: a producer's bytes must not steer it."""


def harmless(text: str) -> str:
    """The text with what no reader would see (escape sequences, other controls, turns of direction) spelled as `\\x1b`.

    Line ends and tabs stay.
    """
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() or one in "\n\t" else one.encode("unicode_escape").decode() for one in text)
