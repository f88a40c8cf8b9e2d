"""How many examples a property gets that says a number of its own: as many times more as the profile has."""

from hypothesis import settings

ORDINARY = 25


def examples(number: int) -> int:
    """`number`, and under a profile that looks harder as many times that as it has times ORDINARY.

    A number in a property's own settings is not the profile's to raise: `thorough` would leave it as it is.
    """
    return number * max(settings().max_examples // ORDINARY, 1)
