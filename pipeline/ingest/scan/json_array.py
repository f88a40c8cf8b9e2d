"""A file of JSON that is an array, or objects over several lines, cut into one object a line."""

import numpy as np
import numpy.typing as npt
import orjson

from pipeline.ingest.compiled import compiled
from pipeline.ingest.scan.cells import Bytes

# Line ends stand between tokens only: inside a string JSON does not allow them.
_LINE_ENDS = bytes.maketrans(b"\n\r\t", b"   ")


@compiled
def _objects(text: Bytes, starts: npt.NDArray[np.int64], ends: npt.NDArray[np.int64]) -> int:
    count, offset, stop = 0, 0, len(text)
    while offset < stop:
        byte = text[offset]
        if byte in (32, 9, 10, 13, 44, 91, 93):
            offset += 1
            continue
        starts[count] = offset
        if byte != 123:
            # No object: up to the next one, or to the end of the line, it is a record that will be rejected.
            while offset < stop and text[offset] != 123 and text[offset] != 10:
                offset += 1
        else:
            depth = 0
            quoted = False
            while offset < stop:
                byte = text[offset]
                if quoted:
                    if byte == 92:
                        offset += 1
                    elif byte == 34:
                        quoted = False
                elif byte == 34:
                    quoted = True
                elif byte == 123 or byte == 91:
                    depth += 1
                elif byte == 125 or byte == 93:
                    depth -= 1
                offset += 1
                if depth == 0 and not quoted:
                    break
        offset = min(offset, stop)
        ends[count] = offset
        count += 1
    return count


def split_objects(data: bytes) -> list[bytes]:
    """The objects at the top of JSON text, or in arrays there, each on one line; a truncated last one as it is.

    What is no object is a record of its own, so that nothing is lost.
    """
    text = np.frombuffer(data, np.uint8)
    most = data.count(b"{") * 2 + data.count(b"\n") + 2
    starts, ends = np.empty(most, np.int64), np.empty(most, np.int64)
    objects = _objects(text, starts, ends)
    flat = data.translate(_LINE_ENDS)
    bounds = zip(starts[:objects].tolist(), ends[:objects].tolist(), strict=True)
    return [record for start, end in bounds if (record := flat[start:end].strip())]


# Text may stand before the first object (a program's own log); an object longer than a record may be is none.
_HEAD_LINES = 50
_OBJECT_BYTES = 2 << 20


def one_a_line(data: bytes) -> bytes:
    """JSON text with one object a line: an array, and objects over several lines (jq, nfdump 1.6), are cut.

    Lines that are records already, and text before them, stay as they are.
    """
    body = data.lstrip()
    if body[:1] == b"[" or (b"\n" in body.rstrip() and _is_spread(data)):
        return b"\n".join(split_objects(data))
    return data


def _is_spread(data: bytes) -> bool:
    """Whether the first object at the top goes over several lines, or stands in an array behind text."""
    at = 0
    for _ in range(_HEAD_LINES):
        end = data.find(b"\n", at) % (len(data) + 1)
        line = data[at:end].strip()
        if line[:1] == b"{" and _is_object(line):
            return False
        if line[:1] in (b"{", b"["):
            begin = data.index(line[:1], at)
            objects = split_objects(data[begin : begin + _OBJECT_BYTES])
            if objects and _is_object(objects[0]):
                return True
        at = end + 1
        if at >= len(data):
            return False
    return False


def _is_object(text: bytes) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except orjson.JSONDecodeError:
        return False
