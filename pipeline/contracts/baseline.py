"""What featurize says of a row against its sensor's baseline: the phase of learning, and what is new about the row."""

from enum import IntEnum, IntFlag

import numpy as np
import numpy.typing as npt


class Phase(IntEnum):
    """How far a sensor has got in learning what is usual there."""

    NONE = 0
    """No baseline: the feature set has no coordinates."""
    LEARNING = 1
    """What is usual is not known yet: nothing is shown."""
    SETTLING = 2
    """What is not usual is shown, and still learnt."""
    ANCHORED = 3
    """The baseline is fixed: only what was shown can become usual."""
    CHANGED = 4
    """Most of the traffic is new: it is learnt again, beside what was usual before."""


class Evidence(IntFlag):
    """What is new about a row at its sensor."""

    STRANGE = 1
    """The flow is farther from every usual kind of flow than the bound."""
    NEW_SERVICE_USE = 2
    """These two hosts are not known to use this service with each other."""
    NEW_WRITER = 4
    """The source is not known to write to this device."""
    NEW_CONTROLLER = 8
    """The source is not known to change program, mode or configuration of this device."""
    NEW_FUNCTION = 16
    """The source is not known to ask this device for this industrial function."""
    NEW_HARDWARE = 32
    """An address that is stable here comes from a hardware address that is not known for it."""
    SEVERAL_HARDWARE = 64
    """An address that is stable here came from several hardware addresses within the flow."""
    NEW_HOST = 128
    """The source address is not known here."""
    NEW_TALK = 256
    """As NEW_SERVICE_USE, of traffic without a service: groups, broadcast, ICMP, ARP and other link traffic."""
    NEW_DEVICE = 512
    """The source's hardware address is not known here, under whatever network address."""
    NEW_COMMON_USE = 1024
    """As NEW_SERVICE_USE, of a service that several hosts use there and that is no industrial one."""
    MORE_BYTES = 2048
    """The source sent far more bytes than in any flow between these two by this service while the sensor learnt."""
    MUCH_IS_NEW = 4096
    """The sensor still meets new relations by the hour: one more says little."""
    NEW_AGAIN = 8192
    """These two used this service with each other in an earlier block, and it is still not usual: it comes back."""
    AT_SOURCE = 16384
    """What is new about hardware is so of the source's address."""
    AT_TARGET = 32768
    """What is new about hardware is so of the target's address."""
    SINCE_LEARNING = 65536
    """The flow began while everything was learnt, and ended later: it is what was there then, not something new."""


SHOWN = (
    Evidence.STRANGE
    | Evidence.NEW_SERVICE_USE
    | Evidence.NEW_WRITER
    | Evidence.NEW_CONTROLLER
    | Evidence.NEW_FUNCTION
    | Evidence.NEW_HARDWARE
    | Evidence.SEVERAL_HARDWARE
    | Evidence.NEW_DEVICE
    | Evidence.MORE_BYTES
)
"""What makes a row a suspect by itself; the rest describes it."""

CERTAIN = Evidence.NEW_WRITER | Evidence.NEW_CONTROLLER | Evidence.NEW_HARDWARE | Evidence.SEVERAL_HARDWARE
"""What makes a row a suspect even while most of the traffic is new."""

GRAVE = Evidence.NEW_CONTROLLER | Evidence.SEVERAL_HARDWARE
"""What makes a row a suspect though it began while everything was learnt: whoever opened a connection then may have
loaded a program by it later.
"""

RELATIONS = Evidence.NEW_SERVICE_USE | Evidence.NEW_WRITER | Evidence.NEW_FUNCTION | Evidence.NEW_DEVICE
"""What does not make a row a suspect where MUCH_IS_NEW."""

_SHOWN_IN = np.zeros(len(Phase), np.uint32)
_SHOWN_IN[[Phase.SETTLING, Phase.ANCHORED]] = int(SHOWN)
_SHOWN_IN[Phase.CHANGED] = int(CERTAIN)


COUNTED = (Evidence.NEW_CONTROLLER, Evidence.NEW_WRITER, Evidence.NEW_SERVICE_USE | Evidence.NEW_COMMON_USE)
"""The column `others` counts the sources of the first of these that a row has."""


def shown_evidence(phase: npt.NDArray[np.uint8], evidence: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint32]:
    """(n,) the evidence that makes rows suspects by their sensor's baseline; 0 of all other rows."""
    says_little = np.where(evidence & np.uint32(Evidence.MUCH_IS_NEW), np.uint32(RELATIONS), np.uint32(0))
    is_older = evidence & np.uint32(Evidence.SINCE_LEARNING) != 0
    of_age = np.where(is_older, np.uint32(GRAVE), ~np.uint32(0))
    of_phase: npt.NDArray[np.uint32] = _SHOWN_IN[phase] & evidence & ~says_little & of_age
    return of_phase


def shown(phase: npt.NDArray[np.uint8], evidence: npt.NDArray[np.uint32]) -> npt.NDArray[np.bool_]:
    """(n,) whether rows are suspects by their sensor's baseline."""
    is_shown: npt.NDArray[np.bool_] = shown_evidence(phase, evidence) != 0
    return is_shown
