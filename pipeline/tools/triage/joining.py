"""By what alerts can be joined with one another, as keys that an index can hold."""

import hashlib

import orjson

from pipeline.contracts import incident_joining
from pipeline.contracts.incident_joining import Alert, neighbourhood


def keys_of(alert: Alert) -> set[str]:
    """Keys of which two alerts share one wherever a rule takes them together (contracts/incident_joining).

    Site and day, with each of the rules' keys, hashed. None of a notice, which joins with nothing.
    """
    near = neighbourhood(alert)
    named = ([near.site, near.from_us, *key] for key in incident_joining.keys_of(alert))
    return {hashlib.sha256(orjson.dumps(each)).hexdigest()[:32] for each in named}
