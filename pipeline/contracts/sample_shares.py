"""How many rows score sends to retraining: all suspects, and of the rest one in so many, by hash of raw position."""

NORMAL_ONE_IN = 32
OTHER_ONE_IN = 4
"""By a row's class: what is named an attack is rare and worth more than the hundredth ordinary poll."""
