"""What a shadow has counted, and up to where: one file, replaced whole, so that no row counts twice or is left out.

    <registry>/shadow/<model>.json    {"sha256": of the rest, "shadow": {…}}

Positions and counts are in the same file: after a kill at any moment the rows behind it are read again, and no others.
"""

import hashlib
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from pipeline.errors import RefusedState
from pipeline.runtime.storage.location import StorageLike, open_storage
from pipeline.tools.shadow.counts import Counts

FOLDER = "shadow"
VERSION = 1
UNKNOWN = -1
NO_TIME = -1


@dataclass
class Position:
    """How far a partition is read: the offset to read next, and the number that the next message must carry.

    seq : UNKNOWN before the first message
    deleted : messages that the topic no longer held when they were to be read
    """

    offset: int
    seq: int = UNKNOWN
    deleted: int = 0


@dataclass(frozen=True)
class Beside:
    """What is compared: the candidate, by its id and the SHA-256 of its manifest, on the rows of which topic."""

    model: str
    sha256: str
    topic: str


@dataclass
class ShadowState:
    """A shadow run: what is compared, how far it is, what it counted.

    first_us, last_us : Kafka's timestamps of the first and the last message read, NO_TIME before the first
    behind_s : age of the last message read when it was read, 0 where no more was there
    """

    beside: Beside
    started_us: int
    saved_us: int = NO_TIME
    first_us: int = NO_TIME
    last_us: int = NO_TIME
    behind_s: float = 0.0
    messages: int = 0
    positions: dict[int, Position] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)

    def expect(self, beside: Beside, where: str) -> None:
        """RefusedState where it is of another model's rows or topic."""
        if self.beside != beside:
            raise RefusedState(
                f"{where}: got a shadow of {self.beside.model} {self.beside.sha256[:12]} on {self.beside.topic}, "
                f"expected {beside.model} {beside.sha256[:12]} on {beside.topic}; --anew drops it and begins again"
            )

    def document(self) -> dict[str, Any]:
        """As JSON knows it."""
        plain = {name: getattr(self, name) for name in _NUMBERS}
        positions = {str(partition): asdict(position) for partition, position in sorted(self.positions.items())}
        facts = {"version": VERSION, **asdict(self.beside), **plain}
        return {**facts, "positions": positions, "counts": self.counts.document()}

    @classmethod
    def of(cls, document: Any) -> "ShadowState":
        """What `document` gave; ValueError, KeyError or TypeError where it is something else."""
        if document["version"] != VERSION:
            raise ValueError(f"got version {document['version']}, expected {VERSION}")
        positions = {
            int(partition): Position(int(each["offset"]), int(each["seq"]), int(each["deleted"]))
            for partition, each in document["positions"].items()
        }
        return cls(
            Beside(*(str(document[name]) for name in ("model", "sha256", "topic"))),
            **{name: kind(document[name]) for name, kind in _NUMBERS.items()},
            positions=positions,
            counts=Counts.of(document["counts"]),
        )


_NUMBERS = {"started_us": int, "saved_us": int, "first_us": int, "last_us": int, "behind_s": float, "messages": int}


def name_of(model: str) -> str:
    """The file of a model's shadow, relative to the registry."""
    return f"{FOLDER}/{model}.json"


def read(registry: StorageLike, model: str) -> ShadowState | None:
    """What a model's shadow had counted when it was last saved; None without one, RefusedState where it is damaged."""
    storage, name = open_storage(registry, "models"), name_of(model)
    where = f"{storage.uri}/{name}"
    try:
        held = orjson.loads(storage.read(name))
        got, state = held["sha256"], held["shadow"]
        if got != _sha256(orjson.dumps(state, option=orjson.OPT_SORT_KEYS)):
            raise ValueError("its digest is not that of what it holds")
        return ShadowState.of(state)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (orjson.JSONDecodeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RefusedState(
            f"{where}: got a file that is damaged or of another version of Forebay ({error!r}), expected what a shadow "
            "has counted; `forebay model shadow --anew` drops it and begins again"
        ) from error


def write(registry: StorageLike, state: ShadowState) -> None:
    """Put it in the place of what was saved before."""
    shadow = state.document()
    digest = _sha256(orjson.dumps(shadow, option=orjson.OPT_SORT_KEYS))
    content = orjson.dumps({"sha256": digest, "shadow": shadow}, option=orjson.OPT_SORT_KEYS)
    open_storage(registry, "models").replace(name_of(state.beside.model), content)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
