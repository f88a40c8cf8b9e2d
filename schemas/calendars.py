"""Calendars: named times of a plant in which other things are usual than otherwise."""

from datetime import datetime, time
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from schemas.time_zones import EXPECTED_ZONE, is_time_zone

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Interval = tuple[datetime, datetime]


class Calendar(BaseModel):
    """A shift, a weekend, a maintenance window: what holds when all that is given of it holds.

    Times are local ones of `zone`. Where `hours` cross midnight, `days` are those they begin on. Of several calendars
    that hold, the first one listed counts; where none does, nothing has a name.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")]
    zone: str = "UTC"
    days: tuple[Day, ...] = ()
    hours: tuple[time, time] | None = None
    dates: tuple[Interval, ...] = ()
    sites: tuple[str, ...] = ()

    @field_validator("zone")
    @classmethod
    def _known(cls, zone: str) -> str:
        if not is_time_zone(zone):
            raise ValueError(f"expected {EXPECTED_ZONE}")
        return zone

    @field_validator("dates")
    @classmethod
    def _forward(cls, dates: tuple[Interval, ...]) -> tuple[Interval, ...]:
        for begin, end in dates:
            if begin.tzinfo is not None or end.tzinfo is not None:
                raise ValueError("expected local times without an offset; the zone is given by `zone`")
            if end <= begin:
                raise ValueError(f"expected an end after {begin}, got {end}")
        return dates

    @field_validator("hours")
    @classmethod
    def _whole_minutes(cls, hours: tuple[time, time] | None) -> tuple[time, time] | None:
        for hour in hours or ():
            if hour.second or hour.microsecond or hour.tzinfo is not None:
                raise ValueError("expected local hours and minutes, such as 22:00")
        return hours

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not (self.days or self.hours or self.dates):
            raise ValueError(f"calendar {self.name}: expected one of days, hours, dates")
        return self

    def holds(self, local: datetime) -> bool:
        """Whether it holds at a local time, to the minute."""
        if self.dates and not any(begin <= local < end for begin, end in self.dates):
            return False
        day, at = local.weekday(), local.time()
        if self.hours:
            begin, end = self.hours
            if begin < end and not begin <= at < end:
                return False
            if begin > end:
                if end <= at < begin:
                    return False
                if at < end:  # the part after midnight is of the day before
                    day = (day - 1) % 7
        return not self.days or DAYS[day] in self.days
