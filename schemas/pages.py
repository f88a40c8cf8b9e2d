"""How many pages a day a site's sensors may make, as it is set."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Pages(BaseModel):
    """The budget of each sensor. More pages a day find more at once, and are looked at less.

    What is certain may exceed it tenfold; what is held back is listed and counted, whatever the budget.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    a_day: Annotated[
        int, Field(ge=0, le=1_000, description="Pages a day of event time and sensor. 0: only what is certain.")
    ] = 1
    burst: Annotated[
        int,
        Field(
            ge=1,
            le=1_000,
            description="Pages that quiet days save up; a new use of a service pages only where all are left.",
        ),
    ] = 3


SHIPPED_PAGES = Pages()
