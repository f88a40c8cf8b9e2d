"""Addresses in words: the tables hold keys, and people read names."""

from collections.abc import Iterator, Mapping, MutableMapping

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.featurize.baseline.keys import OUTSIDE, FlowRelations
from pipeline.featurize.baseline.recurrence import BLOCKS, LAST_BLOCK
from pipeline.featurize.baseline.relations import ROOM, SOURCE, TARGET, Relations
from pipeline.featurize.windows.tables import USED

RELATIONS_A_NAME = 4
"""Addresses have three relations each, for themselves, their device and what they use, and mostly more."""
NOT_NOTED = np.uint64(1)
"""The key of every address that found no room."""
OUTSIDE_WORDS = "any public address"
UNKNOWN_WORDS = "an address not noted"


class AddressNames(MutableMapping[int, str]):
    """Names by the keys of their addresses, and how long all of them are: asked for with every message."""

    def __init__(self, names: Mapping[int, str] | None = None) -> None:
        self._names = dict(names or {})
        self.characters = sum(len(name) + 1 for name in self._names.values())
        """Of all names, with what separates them."""

    def __getitem__(self, key: int) -> str:
        return self._names[key]

    def __setitem__(self, key: int, name: str) -> None:
        self.characters += len(name) - len(self._names.get(key, "")) + (key not in self._names)
        self._names[key] = name

    def __delitem__(self, key: int) -> None:
        self.characters -= len(self._names.pop(key)) + 1

    def __iter__(self) -> Iterator[int]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def without(self, keys: set[int]) -> set[int]:
        """Those of the keys that have no name."""
        return keys - self._names.keys()


def remember(
    names: AddressNames,
    rows: npt.NDArray[np.int64],
    flow: FlowRelations,
    src: pa.Array,
    dst: pa.Array,
    room_of_relations: int,
) -> None:
    """Note the addresses of these rows of a batch, in their order, as far as there is room."""
    most_names, most_characters = room_for_names(room_of_relations)
    if not len(rows) or len(names) >= most_names:
        return
    sources, targets = flow.src[rows].tolist(), flow.dst[rows].tolist()
    new = names.without({*sources, *targets}) - {int(OUTSIDE)}
    if not new:
        return  # as mostly, while a sensor learns
    keys = [key for ends in zip(sources, targets, strict=True) for key in ends]
    first = dict(zip(reversed(keys), range(len(keys) - 1, -1, -1), strict=True))
    for at in sorted(first[key] for key in new):
        if len(names) >= most_names:
            return
        column = src if at % 2 == 0 else dst
        name = column[int(rows[at // 2])].as_py()
        # Saved as lines, of which an empty one alone is none.
        if name and len(name) < most_characters - names.characters:
            names[keys[at]] = name


def room_for_names(room_of_relations: int) -> tuple[int, int]:
    """Most names and most characters of all of them: all of IPv4 fit, and of IPv6 at their longest three in four."""
    names = room_of_relations // RELATIONS_A_NAME
    return names, 15_000 * names // 512


def forget_unnamed(names: AddressNames, relations: Relations, block: int) -> None:
    """Make one of all ends without a name, as a saved baseline does: what a block says must not depend on a restore.

    Only what began in the block that closes can have such ends: a name that is needed stays.
    """
    cells = relations.cells[: int(relations.table.cells[0, USED]) + 1]
    entries = np.flatnonzero((cells[:, LAST_BLOCK] == block) & (cells[:, BLOCKS] == 1))
    if not len(entries):
        return
    ends = relations.ends[entries][:, [SOURCE, TARGET]]
    named = np.isin(ends, np.array([0, int(OUTSIDE), *names], np.uint64))
    relations.ends[entries, SOURCE], relations.ends[entries, TARGET] = np.where(named, ends, NOT_NOTED).T


def tidy(names: AddressNames, relations: Relations) -> None:
    """Drop the names that no relation needs, where a quarter of the room is left or less."""
    most_names, most_characters = room_for_names(int(relations.counts[ROOM]))
    if 4 * len(names) < 3 * most_names and 4 * names.characters < 3 * most_characters:
        return
    needed = set(relations.ends[:, [SOURCE, TARGET]].ravel().tolist())
    for key in [key for key in names if key not in needed]:
        del names[key]


def name_of(names: AddressNames, key: int) -> str:
    """An address in words."""
    return OUTSIDE_WORDS if key == int(OUTSIDE) else names.get(key, UNKNOWN_WORDS)
