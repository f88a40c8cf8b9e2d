"""A file of JSON that is an array, or objects over several lines, cut into one object a line."""

import numpy as np
import numpy.typing as npt
from numba import njit

from pipeline.ingest.scan.cells import Bytes

# Line ends stand between tokens only: inside a string JSON does not allow them.
_LINE_ENDS = bytes.maketrans(b"\n\r\t", b"   ")


@njit(cache=True)
def _objects(text: Bytes, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> int:
    found, place, stop = 0, 0, len(text)
    while place < stop:
        byte = text[place]
        if byte in (32, 9, 10, 13, 44, 91, 93):
            place += 1
            continue
        starts[found] = place
        if byte != 123:
            # No object: up to the next one, or to the end of the line, it is a record that will be rejected.
            while place < stop and text[place] != 123 and text[place] != 10:
                place += 1
        else:
            depth = 0
            quoted = False
            while place < stop:
                byte = text[place]
                if quoted:
                    if byte == 92:
                        place += 1
                    elif byte == 34:
                        quoted = False
                elif byte == 34:
                    quoted = True
                elif byte == 123 or byte == 91:
                    depth += 1
                elif byte == 125 or byte == 93:
                    depth -= 1
                place += 1
                if depth == 0 and not quoted:
                    break
        place = min(place, stop)
        ends[found] = place
        found += 1
    return found


def split_objects(data: bytes) -> list[bytes]:
    """The objects at the top of JSON text, or in arrays there, each on one line; a truncated last one as it is.

    What is no object is a record of its own, so that nothing is lost.
    """
    text = np.frombuffer(data, np.uint8)
    most = data.count(b"{") * 2 + data.count(b"\n") + 2
    starts, ends = np.empty(most, np.int64), np.empty(most, np.int64)
    found = _objects(text, starts, ends)
    flat = data.translate(_LINE_ENDS)
    places = zip(starts[:found].tolist(), ends[:found].tolist(), strict=True)
    return [record for start, end in places if (record := flat[start:end].strip())]
