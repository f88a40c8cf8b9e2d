"""Every feature set by its name."""

from collections.abc import Callable

from pipeline.errors import Misconfigured
from pipeline.featurize.feature_set import FEATURE_SET, Feature, FeatureSet
from pipeline.featurize.windows import kdd, kdd_modes
from pipeline.featurize.windows.bounded_tables import Bounds
from pipeline.featurize.windows.ot_set import FULL

KDD_NAMES = (
    *("count", "srv_count", "serror_rate", "srv_serror_rate", "rerror_rate", "srv_rerror_rate", "same_srv_rate"),
    *("diff_srv_rate", "srv_diff_host_rate", "dst_host_count", "dst_host_srv_count", "dst_host_same_srv_rate"),
    *("dst_host_diff_srv_rate", "dst_host_same_src_port_rate", "dst_host_srv_diff_host_rate"),
    *("dst_host_serror_rate", "dst_host_srv_serror_rate", "dst_host_rerror_rate", "dst_host_srv_rerror_rate"),
)
"""KDD'99's features 23-41."""

_WORDS = {
    "count": "flows to this destination",
    "srv_count": "flows of this service",
    "serror_rate": "share of unfinished connections to this destination",
    "srv_serror_rate": "share of unfinished connections of this service",
    "rerror_rate": "share of refused connections to this destination",
    "srv_rerror_rate": "share of refused connections of this service",
    "same_srv_rate": "share of this service among flows to this destination",
    "diff_srv_rate": "other services among flows to this destination",
    "srv_diff_host_rate": "other destinations among flows of this service",
    "same_src_port_rate": "flows with the same source port",
}
_INCLUDED = {
    "count": "n",
    "srv_count": "m",
    "serror_rate": "SERR in D / n",
    "srv_serror_rate": "SERR in V / m",
    "rerror_rate": "RERR in D / n",
    "srv_rerror_rate": "RERR in V / m",
    "same_srv_rate": "|D∩V| / n",
    "diff_srv_rate": "s / n if s > 1, else 0",
    "srv_diff_host_rate": "h / m if h > 1, else 0",
    "same_src_port_rate": "same source port in D / n",
}
_EXCLUDED = {
    **_INCLUDED,
    "diff_srv_rate": "1 - |D∩V| / n",
    "srv_diff_host_rate": "(m - |D∩V|) / m",
    "same_src_port_rate": "same source port in V / (m + 1)",
}


def _kdd(source: str, formulas: dict[str, str], time: str, count: str) -> tuple[Feature, ...]:
    features = []
    for index, name in enumerate(KDD_NAMES):
        plain = name.removeprefix("dst_host_") if index >= kdd.TIME_FEATURES else name
        counted = plain in ("count", "srv_count")
        features.append(
            Feature(
                name=name,
                group="kdd-time" if index < kdd.TIME_FEATURES else "kdd-count",
                unit="flows" if counted else "share",
                label=_WORDS[plain],
                scale="log1p" if counted else "linear",
                formula=formulas[plain],
                source=f"KDD'99 {23 + index}, {source}",
                window=time if index < kdd.TIME_FEATURES else count,
            )
        )
    return tuple(features)


def _queue() -> tuple[str, float]:
    return "bound_queue", Bounds().queue


ONLINE = FeatureSet(
    name="online",
    version=1,
    features=_kdd("as NSL-KDD reads it", _INCLUDED, "2 s, c included", "c, 254 before it to D, filled with the newest"),
    parameters=(
        ("window_us", kdd.WINDOW_US),
        ("count_cap", kdd.COUNT_CAP),
        ("ring", kdd.RING + 1),
        _queue(),
        ("bound_ring_dsts", Bounds().ring_dsts),
    ),
    about="KDD'99's features 23-41 for a stream: 2 s, and the newest 255 flows of each destination; rates as they are.",
)
EXTRACTOR = FeatureSet(
    name="kdd-extractor",
    version=1,
    features=_kdd("kdd99 extractor", _EXCLUDED, "2 s before the flow before c", "the last 100 flows, c excluded"),
    parameters=(("window_us", kdd.WINDOW_US), ("last", kdd_modes.LAST), _queue()),
    about="The same as the kdd99 feature extractor (438dba0) prints them: without the flow itself, two decimals.",
)
NSL = FeatureSet(
    name="kdd-nsl",
    version=1,
    features=_kdd("NSL-KDD", _INCLUDED, "2 s, c included", "255 of the file sorted by destination, c last"),
    parameters=(("window_us", kdd.WINDOW_US), ("count_cap", kdd.COUNT_CAP), ("window", kdd_modes.NSL_WINDOW), _queue()),
    about=(
        "The same as NSL-KDD's data obey them, two decimals. The order of the 255 (whole file by destination address, "
        "then time) is an assumption."
    ),
    whole_file=True,
)

FEATURE_SETS: dict[str, FeatureSet] = {
    feature_set.name: feature_set for feature_set in (FEATURE_SET, FULL, ONLINE, EXTRACTOR, NSL)
}


def named(name: str, error: Callable[[str], Exception] = Misconfigured, live: bool = False) -> FeatureSet:
    """The feature set of that name; raises `error` where there is none or, live, where it is of whole files only."""
    wanted = [feature_set.name for feature_set in FEATURE_SETS.values() if not (live and feature_set.whole_file)]
    if name not in wanted:
        raise error(f"feature set: got {name!r}, expected one of {', '.join(wanted)}")
    return FEATURE_SETS[name]
