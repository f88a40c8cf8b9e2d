"""When and where an attack takes place."""

from dataclasses import dataclass

import numpy as np

from loadtest.plants.generated.chance import Ints
from loadtest.plants.generated.flows import Source
from loadtest.plants.generated.scene import ATTACK, Event, Scene
from loadtest.plants.generated.site import dotted


@dataclass(frozen=True, slots=True)
class Stage:
    """The stretch of time of one attack."""

    scene: Scene
    name: str
    start_us: int
    end_us: int
    early: bool

    @property
    def length_us(self) -> int:
        """How long it lasts at most."""
        return self.end_us - self.start_us

    def intruder(self, number: int) -> str:
        """A device brought in; early ones are others, so that knowing one is not knowing both."""
        return f"intruder-{number + 3 if self.early else number}"

    def address(self, name: str) -> int:
        """A host's address."""
        return self.scene.address(name)

    def begins(self, what: str, *hosts: str | int) -> Source:
        """Note the event; a maker of its flows. Public hosts are given by address."""
        names = tuple(host if isinstance(host, str) else dotted(host) for host in hosts)
        event = Event(self.name, ATTACK, self.start_us, self.end_us, what, names, self.early)
        number = self.scene.happens(event)
        return self.scene.source("attack", f"{self.name} early" if self.early else self.name, number)

    def spread(self, count: int) -> Ints:
        """(count,) points in time from the start on, evenly, that leave a tenth of the stretch after the last."""
        times: Ints = self.start_us + np.arange(count) * (self.length_us * 9 // 10) // max(count, 1)
        return times
