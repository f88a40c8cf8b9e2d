"""What a gate says of a figure that does not pass it."""


def beyond(name: str, value: float, bound: float, is_most: bool) -> list[str]:
    """What was got and what was expected, where a figure is above the most or below the least; else empty."""
    if not ((value > bound) if is_most else (value < bound)):
        return []
    return [f"{name}: got {value:.4g}, expected {'at most' if is_most else 'at least'} {bound:g}"]
