"""Which sensors have stopped: a detector whose sensors are silent finds nothing, and looks well."""

from collections.abc import Mapping

from pipeline.contracts.envelope import SensorName
from pipeline.runtime.terminal import printable
from pipeline.tools.doctor.findings import Finding
from pipeline.tools.sensors.histories import GONE_US, QUIET_US, SensorHistory

HOUR_US = 3_600_000_000
MAX_NAMED = 5


def silence(every: Mapping[SensorName, SensorHistory], now_us: int) -> Finding:
    """Sensors from which nothing was heard for hours, though not for so long that they were taken away.

    A sensor that sends is heard of at least once an hour of its own time: featurize writes its status.
    """
    heard_us = {name: now_us - history.last.stored_us for name, history in every.items()}
    present = {name: since_us for name, since_us in heard_us.items() if since_us <= GONE_US}
    silent = sorted(name for name, since_us in present.items() if since_us > QUIET_US)
    hours = QUIET_US // HOUR_US
    if not silent:
        gone = f"; {len(every) - len(present)} were taken away long ago" if len(present) < len(every) else ""
        return Finding("silence", "ok", f"{len(present)} sensors, none silent for {hours} h{gone}")
    named = ", ".join(printable("/".join(name)) for name in silent[:MAX_NAMED])
    more = f" and {len(silent) - MAX_NAMED} more" if silent[MAX_NAMED:] else ""
    return Finding(
        "silence",
        "warn",
        f"{len(silent)} of {len(present)} sensors silent: {named}{more}",
        "see whether they still send (`forebay source list`), and whether it can be read (`forebay rejects list`)",
        f"something of each within {hours} h",
    )
