"""Text from outside (a sensor's name, a verdict's author) made safe to show: it neither steers a terminal nor hides."""


def printable(text: str, most: int | None = None) -> str:
    """The text with each character that is not printable spelled out as hex, and cut to `most` characters.

    Printable, by Unicode: letters, marks, numbers, punctuation, symbols, the plain space. Not: control characters (of
    ANSI sequences, C1 too), line ends and other spaces, marks of direction, characters without width, private use. It
    knows no markup: escape that after it (`rich.markup.escape`, `html.escape`).
    """
    cut = text if most is None else text[: most + 1]
    # Nearly every text is printable as a whole; an alert asks for a hundred.
    shown = cut if cut.isprintable() else "".join(map(_shown, cut))
    if most is None or len(shown) <= most:
        return shown
    return shown[: most - 1] + "…"


def _shown(character: str) -> str:
    return character if character.isprintable() else f"\\x{ord(character):02x}"
