"""Who is at the ends of an incident's flows: who acted, and towards whom."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.contracts.group_addresses import is_group_address


@dataclass(frozen=True, slots=True)
class Ends:
    """Flows per address at either end.

    undirected: the sensor orders a flow's ends by address, so the initiator is known only where SYNs were counted.
    more_: there were more addresses than are retained.
    """

    sources: Mapping[str, int]
    targets: Mapping[str, int]
    more_sources: bool
    more_targets: bool
    undirected: bool

    @property
    def actor(self) -> str:
        """The address most flows come from; where the initiator is unknown, the busiest address."""
        if not self.undirected:
            return most(self.sources)
        ends = Counter(self.sources) + Counter(self.targets)
        # A broadcast or multicast address initiates nothing.
        return min(ends, key=lambda name: (is_group_address(name), -ends[name], -self.sources.get(name, 0), name))

    @property
    def others(self) -> Mapping[str, int]:
        """The addresses the flows go to; where the initiator is unknown, all but the actor's."""
        if not self.undirected:
            return self.targets
        ends = Counter(self.targets) + Counter(self.sources)
        del ends[self.actor]
        return dict(ends) or self.targets

    @property
    def more_others(self) -> bool:
        """Whether there were more of them than are retained."""
        return self.more_targets or (self.undirected and self.more_sources)


def most(counts: Mapping[str, int]) -> str:
    """The name with the highest count; of equally many, the first in the alphabet."""
    return min(counts, key=lambda name: (-counts[name], name))
