"""By what alerts can be joined with one another, as keys that an index can hold."""

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

from pipeline.contracts.incident_joining import address_of, neighbourhood


def keys_of(alert: Mapping[str, Any]) -> set[str]:
    """Keys of which two alerts share one wherever a rule of joining takes them together (contracts/incident_joining).

    Site and day, with each conversation: the pair of addresses, the community id; and with each address that is in all
    of the pairs, the hub. None of a notice, which joins with nothing.
    """
    near = neighbourhood(alert)
    if "notice" in alert["unmapped"]:
        return set()
    pairs, ids = set(), set()
    for each in alert["evidences"]:
        pairs.add(tuple(sorted((address_of(each["src_endpoint"]), address_of(each["dst_endpoint"])))))
        ids.add(each["connection_info"].get("community_uid", ""))
    hubs = set.intersection(*map(set, pairs)) if pairs else set()
    named = [*pairs, *((hub,) for hub in hubs), *(("id", each) for each in ids - {""})]
    return {hashlib.sha256(orjson.dumps([near.site, near.from_us, *name])).hexdigest()[:32] for name in named}
