"""Which number of a date as 11/3/2023 is the day."""

from enum import Enum


class DateOrder(Enum):
    """What comes first in a date."""

    DAY = "day"
    MONTH = "month"
