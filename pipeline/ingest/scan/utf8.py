"""UTF-8, checked by compiled code (Unicode 15, table 3-7: no overlong forms, no surrogates, nothing past U+10FFFF)."""

from pipeline.ingest.compiled import compiled
from pipeline.ingest.scan.cells import Bytes


@compiled
def valid_utf8(text: Bytes, offset: int, end: int) -> bool:
    """Whether text[offset:end] is UTF-8."""
    joined = 0
    for at in range(offset, end):
        joined |= text[at]
    if joined < 0x80:
        return True  # the usual case, in a loop that the compiler vectorises
    while offset < end:
        byte = text[offset]
        if byte < 0x80:
            offset += 1
            continue
        if 0xC2 <= byte <= 0xDF:
            more, low, high = 1, 0x80, 0xBF
        elif 0xE0 <= byte <= 0xEF:
            more, low, high = 2, (0xA0 if byte == 0xE0 else 0x80), (0x9F if byte == 0xED else 0xBF)
        elif 0xF0 <= byte <= 0xF4:
            more, low, high = 3, (0x90 if byte == 0xF0 else 0x80), (0x8F if byte == 0xF4 else 0xBF)
        else:
            return False
        if offset + more >= end:
            return False
        if not low <= text[offset + 1] <= high:
            return False
        for at in range(offset + 2, offset + more + 1):
            if not 0x80 <= text[at] <= 0xBF:
                return False
        offset += more + 1
    return True
