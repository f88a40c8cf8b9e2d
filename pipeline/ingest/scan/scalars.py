"""Numbers and times read from their text by compiled code: exact to the microsecond, nothing raised."""

from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.ingest.compiled import compiled, inlined
from pipeline.ingest.scan.cells import ABSENT, BARE, NULL, NUMBER, STRING, Bytes, Ints, Kinds

Statuses = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]

OK, MISSING, MALFORMED, OUT_OF_RANGE = range(4)
SECONDS, MILLISECONDS, MICROSECONDS, NANOSECONDS = 6, 3, 0, -3  # powers of ten between a unit of time and microseconds
DAY_FIRST = 100  # numbers are seconds, dates day/month/year
UNPADDED = 101  # numbers are seconds, fractions of one or two digits are milliseconds (nfdump: 20.7 is 20.007)

_MAX_US = 253_402_300_799_999_999  # the end of the year 9999
_MAX_DIGITS = 19
_POWERS = np.array([10.0**power for power in range(23)])  # exact in float64
_SHORT_DIGITS = 9  # digits alone, at most so many: almost every count, port and length


@inlined
def readable(kind: int) -> int:
    """Whether a cell's text may be read: OK, MISSING, or MALFORMED for truth values, objects, arrays, escapes."""
    if kind in (ABSENT, NULL):
        return MISSING
    if kind in (BARE, NUMBER, STRING):
        return OK
    return MALFORMED


@inlined
def _decimal(text: Bytes, offset: int, end: int) -> tuple[bool, bool, Any, int]:
    """Whether it is a decimal number, its sign, its first 19 significant digits, and their power of ten."""
    negative = offset < end and text[offset] == 45
    if negative:
        offset += 1
    mantissa = np.uint64(0)
    digits, seen, exponent = 0, 0, 0
    fraction = False
    while offset < end:
        byte = text[offset]
        if byte == 46 and not fraction:
            fraction = True
        elif 48 <= byte <= 57:
            seen += 1
            if digits < _MAX_DIGITS:
                mantissa = mantissa * np.uint64(10) + np.uint64(byte - 48)
                if mantissa > 0:
                    digits += 1
                exponent -= fraction
            else:
                exponent += not fraction
        else:
            break
        offset += 1
    if seen == 0:
        return False, negative, mantissa, 0
    if offset < end and (text[offset] == 101 or text[offset] == 69):
        offset += 1
        minus = offset < end and text[offset] == 45
        if minus or (offset < end and text[offset] == 43):
            offset += 1
        if offset >= end:
            return False, negative, mantissa, 0
        power = 0
        while offset < end and 48 <= text[offset] <= 57:
            power = min(power * 10 + (text[offset] - 48), 100_000)
            offset += 1
        exponent += -power if minus else power
    return offset == end, negative, mantissa, exponent


@inlined
def _scaled(mantissa: Any, exponent: int, most: Any) -> tuple[bool, Any]:
    """Whether mantissa × 10^exponent is at most `most`, and that number, half rounded up."""
    if mantissa == 0:
        return True, mantissa
    while exponent > 0:
        if mantissa > most // np.uint64(10):
            return False, mantissa
        mantissa *= np.uint64(10)
        exponent -= 1
    if exponent < -_MAX_DIGITS:
        return True, np.uint64(0)
    divisor = np.uint64(1)
    for _ in range(-exponent):
        divisor *= np.uint64(10)
    rest = mantissa % divisor
    whole = mantissa // divisor
    if divisor > 1 and rest >= divisor - rest:
        whole += np.uint64(1)
    return whole <= most, whole


@inlined
def _short_whole(text: Bytes, offset: int, end: int) -> int:
    """The number that few digits alone make, -1 where it is written in any other way."""
    if not 0 < end - offset <= _SHORT_DIGITS:
        return -1
    value = 0
    for at in range(offset, end):
        digit = int(text[at]) - 48
        if not 0 <= digit <= 9:
            return -1
        value = value * 10 + digit
    return value


@compiled
def read_whole(
    text: Bytes, starts: Ints, ends: Ints, kinds: Kinds, most: int, values: npt.NDArray[np.uint64], statuses: Statuses
) -> None:
    """Whole numbers from 0 to `most`; a fraction of zeros is allowed (42.0)."""
    for row in range(len(starts)):
        values[row] = 0
        statuses[row] = readable(kinds[row])
        if statuses[row] != OK:
            continue
        short = _short_whole(text, starts[row], ends[row])
        if 0 <= short <= most:
            values[row] = short
            continue
        valid, negative, mantissa, exponent = _decimal(text, starts[row], ends[row])
        if not valid:
            statuses[row] = MALFORMED
            continue
        while exponent < 0 and mantissa % np.uint64(10) == 0 and mantissa > 0:
            mantissa //= np.uint64(10)
            exponent += 1
        if mantissa == 0:
            continue
        if negative:
            statuses[row] = OUT_OF_RANGE
            continue
        if exponent < 0:
            statuses[row] = MALFORMED
            continue
        fits, whole = _scaled(mantissa, exponent, np.uint64(most))
        if fits:
            values[row] = whole
        else:
            statuses[row] = OUT_OF_RANGE


@compiled
def read_hex_byte(
    text: Bytes, starts: Ints, ends: Ints, kinds: Kinds, values: npt.NDArray[np.uint64], statuses: Statuses
) -> None:
    """One or two hexadecimal digits."""
    for row in range(len(starts)):
        values[row] = 0
        statuses[row] = readable(kinds[row])
        if statuses[row] != OK:
            continue
        if not 1 <= ends[row] - starts[row] <= 2:
            statuses[row] = MALFORMED
            continue
        value = 0
        for offset in range(starts[row], ends[row]):
            byte = text[offset]
            if 48 <= byte <= 57:
                value = value * 16 + byte - 48
            elif 97 <= (byte | 32) <= 102:
                value = value * 16 + (byte | 32) - 87
            else:
                statuses[row] = MALFORMED
        if statuses[row] == OK:
            values[row] = value


@compiled
def read_number(text: Bytes, starts: Ints, ends: Ints, kinds: Kinds, values: Floats, statuses: Statuses) -> None:
    """Decimal numbers as float64, to within one unit in the last place."""
    for row in range(len(starts)):
        values[row] = 0.0
        statuses[row] = readable(kinds[row])
        if statuses[row] != OK:
            continue
        valid, negative, mantissa, exponent = _decimal(text, starts[row], ends[row])
        if not valid:
            statuses[row] = MALFORMED
            continue
        value = np.float64(mantissa)
        if -22 <= exponent < 0:
            value = value / _POWERS[-exponent]
        elif exponent < 0:
            value = value / 1e22 / 10.0 ** min(-22 - exponent, 300)
        elif exponent > 0 and mantissa > 0:
            value = value * 10.0 ** min(exponent, 300)
        values[row] = -value if negative else value


@compiled
def _digits(text: Bytes, offset: int, count: int, end: int) -> int:
    """The number that `count` digits make, -1 where they are none."""
    if offset + count > end:
        return -1
    value = 0
    for at in range(offset, offset + count):
        byte = text[at]
        if not 48 <= byte <= 57:
            return -1
        value = value * 10 + byte - 48
    return value


@compiled
def _last_day(year: int, month: int) -> int:
    if month == 2:
        return 28 + ((year % 4 == 0 and year % 100 != 0) or year % 400 == 0)
    return 31 - (month == 4 or month == 6 or month == 9 or month == 11)


@compiled
def _days(year: int, month: int, day: int) -> int:
    """Days since the epoch, counted in years that begin in March."""
    shifted = year - (month <= 2)
    since_march = (month + 9) % 12
    leaps = shifted // 4 - shifted // 100 + shifted // 400
    return shifted * 365 + leaps + (153 * since_march + 2) // 5 + day - 1 - 719_468


@compiled
def _fraction_us(text: Bytes, offset: int, end: int, unpadded: bool = False) -> tuple[int, int]:
    """The offset after a fraction of a second, and its microseconds; the offset is -1 where it has no digits.

    `unpadded`: one or two digits are milliseconds, as of a program that does not write their zeros.
    """
    if offset >= end or (text[offset] != 46 and text[offset] != 44):
        return offset, 0
    offset += 1
    first = offset
    unit = 100_000
    us = 0
    while offset < end and 48 <= text[offset] <= 57:
        if offset - first < 6:
            us += (text[offset] - 48) * unit
            unit //= 10
        elif offset - first == 6 and text[offset] >= 53:
            us += 1
        offset += 1
    if unpadded and offset - first < 3:
        us //= 100 if offset - first == 1 else 10
    return (offset if offset > first else -1), us


@compiled
def _one_or_two(text: Bytes, offset: int, end: int) -> tuple[int, int]:
    """A number of one or two digits and where it ends; -1 where there is none."""
    value = _digits(text, offset, 2, end)
    if value >= 0:
        return value, offset + 2
    return _digits(text, offset, 1, end), offset + 1


@compiled
def _day_first_us(text: Bytes, offset: int, end: int) -> tuple[bool, int]:
    """Microseconds since the epoch of `13/05/2024 12:34:07 PM` and its like; seconds and AM or PM may lack."""
    day, offset = _one_or_two(text, offset, end)
    if day < 1 or offset >= end or text[offset] != 47:
        return False, 0
    month, offset = _one_or_two(text, offset + 1, end)
    if month < 1 or month > 12 or offset >= end or text[offset] != 47:
        return False, 0
    year = _digits(text, offset + 1, 4, end)
    offset += 5
    if year < 0 or day > _last_day(year, month) or offset >= end or text[offset] != 32:
        return False, 0
    hour, offset = _one_or_two(text, offset + 1, end)
    if hour < 0 or hour > 23 or offset >= end or text[offset] != 58:
        return False, 0
    minute = _digits(text, offset + 1, 2, end)
    offset += 3
    second, fraction_us = 0, 0
    if offset < end and text[offset] == 58:
        second = _digits(text, offset + 1, 2, end)
        offset, fraction_us = _fraction_us(text, offset + 3, end)
    if minute < 0 or minute > 59 or second < 0 or second > 60 or offset < 0:
        return False, 0
    if offset < end:
        half = (text[offset + 1] | 32) if offset + 3 == end else 0
        if text[offset] != 32 or (half != 97 and half != 112) or (text[offset + 2] | 32) != 109:
            return False, 0
        if hour < 1 or hour > 12:
            return False, 0
        hour = hour % 12 + (12 if half == 112 else 0)
    return True, (_days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second) * 1_000_000 + fraction_us


@compiled
def _iso_us(text: Bytes, offset: int, end: int, unpadded: bool = False) -> tuple[bool, int]:
    """Microseconds since the epoch of `2021-06-06T15:59:46.457984+0200` or 2021/06/06 and so on; no zone means UTC."""
    year, month, day = (
        _digits(text, offset, 4, end),
        _digits(text, offset + 5, 2, end),
        _digits(text, offset + 8, 2, end),
    )
    hour, minute = _digits(text, offset + 11, 2, end), _digits(text, offset + 14, 2, end)
    second = _digits(text, offset + 17, 2, end)
    if second < 0 or year < 0 or month < 1 or month > 12 or day < 1 or hour < 0 or hour > 23:
        return False, 0
    if minute < 0 or minute > 59 or second > 60:
        return False, 0
    if text[offset + 4] != text[offset + 7] or (text[offset + 4] != 45 and text[offset + 4] != 47):
        return False, 0
    if text[offset + 13] != 58 or text[offset + 16] != 58:
        return False, 0
    if text[offset + 10] != 84 and text[offset + 10] != 116 and text[offset + 10] != 32:
        return False, 0
    if day > _last_day(year, month):
        return False, 0
    us = (_days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second) * 1_000_000
    offset, fraction_us = _fraction_us(text, offset + 19, end, unpadded)
    if offset < 0:
        return False, 0
    us += fraction_us
    if offset == end:
        return True, us
    if text[offset] == 90 or text[offset] == 122:
        return offset + 1 == end, us
    if text[offset] != 43 and text[offset] != 45:
        return False, 0
    sign = 1 if text[offset] == 43 else -1
    hours = _digits(text, offset + 1, 2, end)
    offset += 3
    minutes = 0
    if offset < end:
        offset += text[offset] == 58
        minutes = _digits(text, offset, 2, end)
        offset += 2
    if hours < 0 or hours > 23 or minutes < 0 or minutes > 59 or offset != end:
        return False, 0
    return True, us - sign * (hours * 60 + minutes) * 60_000_000


@compiled
def read_time(
    text: Bytes, starts: Ints, ends: Ints, kinds: Kinds, power: int, values: Ints, statuses: Statuses
) -> None:
    """Times, or durations, as microseconds: a number or ISO 8601; half a microsecond rounds away from zero.

    A number times 10^power is microseconds: SECONDS, MILLISECONDS or NANOSECONDS. Negative ones are OK here: whether
    they make sense is for the caller to say. DAY_FIRST reads 13/05/2024 12:34:07 PM too. Seconds that would lie beyond
    the year 9999 are milliseconds, micro- or nanoseconds: whichever is the first that does not.
    """
    day_first, unpadded = power == DAY_FIRST, power == UNPADDED
    if day_first or unpadded:
        power = SECONDS
    for row in range(len(starts)):
        values[row] = 0
        statuses[row] = readable(kinds[row])
        if statuses[row] != OK:
            continue
        first, last = starts[row], ends[row]
        valid, negative, mantissa, exponent = _decimal(text, first, last)
        if valid:
            unit = power
            fits, whole = _scaled(mantissa, exponent + unit, np.uint64(_MAX_US))
            while not fits and power == SECONDS and unit > NANOSECONDS:
                unit -= 3
                fits, whole = _scaled(mantissa, exponent + unit, np.uint64(_MAX_US))
            if fits:
                values[row] = -np.int64(whole) if negative else np.int64(whole)
            else:
                statuses[row] = OUT_OF_RANGE
            continue
        valid, us = _iso_us(text, first, last, unpadded)
        if not valid and day_first:
            valid, us = _day_first_us(text, first, last)
        if valid:
            values[row] = us
        else:
            statuses[row] = MALFORMED
