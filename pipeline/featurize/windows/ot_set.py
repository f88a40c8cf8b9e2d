"""What the OT windows compute, as data, and the feature set `full`: that of `forebay-ics-1` and these."""

from dataclasses import asdict, replace

from pipeline.featurize.definitions import DEFINITIONS
from pipeline.featurize.feature_set import FEATURE_SET, Feature, FeatureSet
from pipeline.featurize.windows import sketches
from pipeline.featurize.windows.damped import DECAYS, STATISTICS
from pipeline.featurize.windows.ot import OtBounds
from pipeline.featurize.windows.rhythm import FEWEST, GAPS, MEMORY, SETTLED

_KEYS = {
    "src": "from this source",
    "dst": "to this destination",
    "edge": "between these two",
    "service": "of this service",
}
_MEANING = {
    "weight": ("flows", "flows {}", "w = Σ 2^(-λΔt)"),
    "bytes_mean": ("bytes", "mean bytes of flows {}", "Σ 2^(-λΔt) x / w, x bytes both ways"),
    "bytes_dev": ("bytes", "deviation of the bytes of flows {}", "√(Σ 2^(-λΔt) (x - mean)² / w)"),
    "packets_mean": ("packets", "mean packets of flows {}", "the same, x packets both ways"),
    "packets_dev": ("packets", "deviation of the packets of flows {}", "the same, x packets both ways"),
    "gap_mean": ("us", "mean gap between flows {}", "the same, x time since the key's flow before"),
    "gap_dev": ("us", "deviation of the gaps between flows {}", "the same, x time since the key's flow before"),
}
_KITSUNE = "AfterImage (Kitsune, NDSS 2018), per flow"


def _damped() -> tuple[Feature, ...]:
    return tuple(
        Feature(
            name=f"{key}_{statistic}_{decay:g}".replace(".", "_"),
            group=f"damped-{key}",
            unit=_MEANING[statistic][0],
            label=f"{_MEANING[statistic][1].format(words)}, fading by half in {1 / decay:.3g} s",
            scale="log1p",
            formula=_MEANING[statistic][2],
            source=_KITSUNE,
            window=f"λ = {decay:g}/s",
        )
        for key, words in _KEYS.items()
        for statistic in STATISTICS
        for decay in DECAYS
    )


def _group(group: str, source: str, window: str, *rows: tuple[str, str, str, str, str]) -> tuple[Feature, ...]:
    return tuple(
        Feature(name, group, unit, label, scale, formula, source, window) for name, unit, scale, label, formula in rows
    )


_FADING = "half-life 60 s"
_DISTINCT, _ENTROPY = "-32 ln(1 - D/32), D = Σ buckets 2^(-age/60 s)", "log2 S - Σ w log2 w / S over 32 buckets"
SKETCHES = _group(
    "fan",
    "linear counting (Whang 1990), Shannon entropy; of hashed buckets, faded",
    _FADING,
    ("src_fan_out", "hosts", "log1p", "destinations this source lately had", _DISTINCT),
    ("src_peer_entropy", "bits", "linear", "how evenly this source spreads over destinations", _ENTROPY),
    ("src_ports", "services", "log1p", "services this source lately used", _DISTINCT),
    ("src_port_entropy", "bits", "linear", "how evenly this source spreads over services", _ENTROPY),
    ("dst_fan_in", "hosts", "log1p", "sources this destination lately had", _DISTINCT),
    ("dst_peer_entropy", "bits", "linear", "how evenly sources share this destination", _ENTROPY),
    ("dst_ports", "services", "log1p", "services lately used of this destination", _DISTINCT),
    ("dst_port_entropy", "bits", "linear", "how evenly services share this destination", _ENTROPY),
)
SHARES = _group(
    "shares",
    "Forebay",
    _FADING,
    ("byte_share", "share", "linear", "originator's share of the bytes", "fwd / (fwd + rev); 0.5 without bytes"),
    ("edge_byte_share", "share", "linear", "originator's share of the edge's bytes", "Σ fwd / Σ (fwd + rev), fading"),
    ("edge_byte_share_change", "share", "linear", "how the byte share differs from the usual", "|own - edge's before|"),
    ("packet_share", "share", "linear", "originator's share of the packets", "as of bytes"),
    ("edge_packet_share", "share", "linear", "originator's share of the edge's packets", "as of bytes"),
    ("edge_packet_share_change", "share", "linear", "how the packet share differs from the usual", "as of bytes"),
)
_RITA = "RITA (activecm/rita), score of time"
RHYTHM = _group(
    "rhythm",
    _RITA,
    f"newest {GAPS} gaps of the edge",
    ("edge_evenness", "score", "linear", "symmetry of the gaps between flows", "1 - |Q1 + Q3 - 2 Q2| / (Q3 - Q1)"),
    ("edge_steadiness", "score", "linear", "narrowness of the gaps between flows", "max((Q2 - MAD) / Q2, 0)"),
    ("edge_regularity", "score", "linear", "regularity of the edge", "mean of evenness and steadiness; 0 below 3 gaps"),
    ("edge_regularity_usual", "score", "linear", "regularity usual for the edge", "running mean, weight ≥ 1/256"),
    ("edge_regularity_loss", "score", "linear", "regularity the edge has lost", "max(usual - present, 0) after 8"),
    ("edge_gap_change", "log ratio", "linear", "this gap against the median one", "|ln((1 + gap) / (1 + Q2))|"),
)
NEW = _group(
    "new",
    "Forebay",
    "as long as the tables remember; × min(time watched / 60 s, 1)",
    ("new_edge", "flag", "linear", "these two never spoke before", "1 if the edge is not in its table"),
    ("new_service", "flag", "linear", "service never seen at this sensor", "1 if the service is not in its table"),
    ("new_offer", "flag", "linear", "service never seen at this destination", "1 if the two are not in their table"),
)
ICS = _group(
    "ics",
    "Forebay; fields ics_*, 0 where the source tells none",
    f"{_FADING}; functions, units and addresses as long as the edge is remembered",
    ("write_share", "share", "linear", "share of writes among requests", "writes / (reads + writes + control)"),
    ("edge_write_share", "share", "linear", "share of writes between these two", "the same of fading sums, with it"),
    ("edge_write_change", "share", "linear", "share of writes against the usual", "|own - edge's before|"),
    ("control_requests", "requests", "log1p", "requests that change the device", "ics_control_cnt"),
    ("exception_share", "share", "linear", "share of requests refused", "exceptions / max(requests, exceptions)"),
    ("edge_exception_share", "share", "linear", "share of refusals between these two", "the same of fading sums"),
    (
        "new_functions",
        "codes",
        "log1p",
        "function codes new between these two",
        "codes (mod 256) not seen × watched",
    ),
    ("new_units", "units", "log1p", "units new between these two", "units mod 256 not seen × watched"),
    ("address_growth", "points", "log1p", "points beyond those named before", "beyond the edge's [min, max]"),
    ("requests", "requests", "log1p", "industrial requests", "reads + writes + control"),
)
OT = _damped() + SKETCHES + SHARES + RHYTHM + NEW + ICS

FULL = FeatureSet(
    name="full",
    version=1,
    features=tuple(replace(feature, **DEFINITIONS[feature.name]) for feature in FEATURE_SET.features) + OT,
    parameters=(
        *(parameter for parameter in FEATURE_SET.parameters if not parameter[0].startswith("bound_")),
        *((f"decay_{number}", decay) for number, decay in enumerate(DECAYS)),
        ("sketch_buckets", sketches.BUCKETS),
        ("sketch_half_life_us", sketches.HALF_LIFE_US),
        ("rhythm_gaps", GAPS),
        ("rhythm_fewest", FEWEST),
        ("rhythm_memory", MEMORY),
        ("rhythm_settled", SETTLED),
        *((f"bound_{name}", value) for name, value in asdict(OtBounds()).items()),
    ),
    about=(
        "For new models: all of forebay-ics-1, and what is usual in a plant and what is lost of it. Its tables do not "
        "let addresses that come once push out those that come again."
    ),
)
