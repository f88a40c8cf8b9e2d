"""What the sources of a plant's traffic share: the hosts, the calendar, the seed, and the list of events."""

from dataclasses import dataclass, field

from loadtest.plants.generated.calendar import Calendar
from loadtest.plants.generated.flows import NO_EVENT, Source
from loadtest.plants.generated.site import Host, Site

ATTACK, FAULT, BENIGN = "attack", "fault", "benign"


@dataclass(frozen=True, slots=True)
class Event:
    """Something known that happens at the plant, in true time; the flows that belong to it have its number."""

    name: str
    kind: str
    start_us: int
    end_us: int
    what: str
    hosts: tuple[str, ...]
    early: bool = False
    """Placed within the first hours, where a sensor learns."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A plant over its time."""

    site: Site
    calendar: Calendar
    seed: int
    events: list[Event] = field(default_factory=list)

    def source(self, kind: str, name: str, event: int = NO_EVENT) -> Source:
        """A maker of flows with random numbers of its own."""
        return Source(self.seed, kind, name, event)

    def happens(self, event: Event) -> int:
        """Add an event to the list; its number."""
        self.events.append(event)
        return len(self.events) - 1

    def host(self, name: str) -> Host:
        """A host of the plant."""
        return self.site.hosts[name]

    def address(self, name: str) -> int:
        """A host's address."""
        return self.site.address(name)

    def inside(self, start_us: int, end_us: int) -> bool:
        """Whether a stretch lies within the plant's time."""
        return self.calendar.start_us <= start_us and end_us <= self.calendar.end_us
