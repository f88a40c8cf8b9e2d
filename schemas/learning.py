"""For how long a site's sensors learn what is usual there, as it is set."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Learning(BaseModel):
    """Event time in seconds; every sensor counts from its first flow.

    Longer learning means later alerts and fewer false ones; while a sensor is not anchored, what an attacker does again
    and again becomes usual.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    least_s: Annotated[int, Field(ge=1, description="A sensor shows nothing before that.")] = 7_200
    most_s: Annotated[
        int, Field(ge=1, description="It shows suspects from then on where at most half of the flows are new.")
    ] = 86_400
    anchor_s: Annotated[int, Field(ge=1, description="From then on only what was shown can become usual.")] = 172_800
    admit_s: Annotated[int, Field(ge=1, description="For so long what was shown must come back to become usual.")] = (
        21_600
    )
    shortest_block_s: Annotated[int, Field(ge=1, le=900, description="Shortest stretch that counts as one.")] = 60

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.least_s <= self.most_s <= self.anchor_s:
            raise ValueError(
                f"expected least_s <= most_s <= anchor_s, got {self.least_s}, {self.most_s}, {self.anchor_s}"
            )
        return self


SHIPPED_LEARNING = Learning()
