"""Names a scored flow can have beside those of a model's attack classes."""

NORMAL = "normal"
"""No suspect, and no known attack."""

UNKNOWN = "unknown"
"""A suspect of which it is not known what it is."""


def is_name(name: str) -> bool:
    """Whether a class names an attack or a fault."""
    return name not in (NORMAL, UNKNOWN)
