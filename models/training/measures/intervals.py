"""Intervals of counted shares."""

Z95 = 1.959963984540054  # 97.5 % quantile of the normal distribution


def wilson(hits: float, of: int, z: float = Z95) -> tuple[float, float] | tuple[None, None]:
    """95 % interval (low, high) of a share; (None, None) of nothing.

    `hits` may be the mean count of several models on the same rows. Source: Wilson 1927; good for small counts.
    """
    if not of:
        return None, None
    share = hits / of
    middle = share + z * z / (2 * of)
    reach = z * (share * (1 - share) / of + z * z / (4 * of * of)) ** 0.5
    scale = 1 + z * z / of
    low = (middle - reach) / scale if hits else 0.0  # exactly, where rounding would leave a trace
    high = (middle + reach) / scale if hits < of else 1.0
    return low, high
