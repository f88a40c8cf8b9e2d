"""What names a record and an incident.

A record is named by its raw position, an incident by a hash of where it is, what its group is, and when its first
suspect ended and what its bytes were. Both are the same after any crash, rebalance or replay; an incident's also where
the same records come another way, as from a file without Kafka.
"""

import hashlib

import orjson

RawPosition = tuple[int, int, int]
RAW_POSITION = ("raw_partition", "raw_offset", "raw_index")
# Columns that name a row: a sensor's row by its raw position, and by its number in the file it came from.
ROW_BY_POSITION = ("site", "sensor", *RAW_POSITION)
ROW_BY_SOURCE_RECORD = ("site", "sensor", "source_record")
# What the columns hold (schemas/flow.toml): int32, int64, int32.
POSITION_BOUNDS = (2**31, 2**63, 2**31)
UID_DIGITS = 32


def raw_position_of(member: object) -> RawPosition | None:
    """Raw position of a member of an incident or verdict, a JSON list that begins with it; None where it is none."""
    if not isinstance(member, list) or len(member) < len(POSITION_BOUNDS):
        return None
    partition, offset, index = member[:3]
    for value, bound in zip((partition, offset, index), POSITION_BOUNDS, strict=True):
        if type(value) is not int or not 0 <= value < bound:  # True is an int to isinstance
            return None
    return partition, offset, index


def incident_uid(site: str, sensor: str, key: str, end_us: int, record_id: int) -> str:
    """An incident's name, 32 hex digits; end_us and record_id are its first suspect's, `key` names its group.

    A record that is sent again, byte for byte, begins the same incident again.
    """
    named = orjson.dumps([site, sensor, key, end_us, record_id])
    return hashlib.sha256(named).hexdigest()[:UID_DIGITS]
