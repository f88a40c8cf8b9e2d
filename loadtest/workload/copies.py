"""Plants side by side: what a sensor of a busy network sees, at the speed of the clock or little faster."""

import re
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pyarrow as pa

from loadtest.conn_json import mixed
from loadtest.plants.generated.site import NETWORK
from loadtest.workload.recording import NO_EVENT, Recording, text_of

MAX_COPIES = 200
"""A plant is 10.20.0.0/16; those beside it are 10.21.0.0/16 and so on."""
_SECOND = NETWORK >> 16 & 255
_ADDRESS = re.compile(rb"\b10\.%d\.(?=\d+\.\d+\b)" % _SECOND)
# A maker, then a byte that all devices of a generated plant share (plants/generated/site.py).
_MAC_BYTE = 0x21
_MAC = re.compile(rb"\b((?:[0-9a-f]{2}:){3})%02x(?=(?::[0-9a-f]{2}){2}\b)" % _MAC_BYTE)


def side_by_side(first: Recording, quiet: Recording, copies: int) -> Recording:
    """A generated plant's recording, and `copies` - 1 of a quiet one beside it, in the order they are sent.

    Each copy has addresses and uids of its own, and is as far into its stretch as it is into the row of copies:

        copies  10.20.  |0 ........ 60|
                10.21.  |20 .... 60|0 .. 20|
                10.22.  |40 . 60|0 .... 40|
    """
    if copies == 1:
        return first
    return _merged([first, *_moved_copies(quiet, copies)])


def _moved_copies(quiet: Recording, copies: int) -> Iterator[Recording]:
    for number in range(1, copies):
        text = _ADDRESS.sub(b"10.%d." % (_SECOND + number), quiet.text.tobytes())
        text = _MAC.sub(rb"\g<1>%02x" % (_MAC_BYTE + number), text)
        end_us = (quiet.end_us + quiet.span_us * number // copies) % quiet.span_us
        yield replace(
            quiet,
            text=np.frombuffer(text, np.uint8),
            end_us=end_us,
            times_us=quiet.times_us + (end_us - quiet.end_us)[:, None],
            uid=mixed(quiet.uid, number),
        )


def _merged(parts: list[Recording]) -> Recording:
    """Recordings of one stretch and one set of logs as one; the events are those of the first."""
    end_us = np.concatenate([part.end_us for part in parts])
    order = np.argsort(end_us, kind="stable")
    lines = pa.array([line for part in parts for line in part.text.tobytes().splitlines()], pa.binary())
    text, bounds = text_of(lines.take(pa.array(order)))
    event = np.full(len(order), NO_EVENT, np.int64)
    event[: parts[0].records] = parts[0].event
    return replace(
        parts[0],
        text=text,
        bounds=bounds,
        log=np.concatenate([part.log for part in parts])[order],
        end_us=end_us[order],
        times_us=np.concatenate([part.times_us for part in parts])[order],
        times_at=np.concatenate([part.times_at for part in parts])[order],
        uid=np.concatenate([part.uid for part in parts])[order],
        event=event[order],
    )
