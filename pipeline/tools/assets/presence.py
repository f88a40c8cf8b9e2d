"""Whether a device still talks, by the newest event time of the sensors that saw it: the wall clock says nothing."""

from dataclasses import dataclass

from pipeline.tools.assets.devices import Device, SiteAssets

QUIET_US = 3_600_000_000
"""An hour: what polls does so by the minute, and what a person uses pauses as long at times."""
GONE_US = 86_400_000_000
"""A day: a shift, a night and a test that runs once a day have passed."""
ACTIVE, QUIET, GONE = ("active", "quiet", "gone")


@dataclass(frozen=True, slots=True)
class Presence:
    """The state, and for how long of its sensor's time a device has not been seen."""

    state: str
    idle_us: int


def presence(device: Device, assets: SiteAssets) -> Presence:
    """By the sensor that waits least: one that was moved, or is silent itself, makes nobody quiet."""
    newest = [assets.sensors[sensor].last_us for sensor in device.sensors]
    # A gateway of which only others' flows were seen has no sensors of its own.
    newest = newest or [span.last_us for span in assets.sensors.values()]
    idle_us = max(0, min(newest) - device.span.last_us)
    state = GONE if idle_us >= GONE_US else QUIET if idle_us >= QUIET_US else ACTIVE
    return Presence(state, idle_us)
