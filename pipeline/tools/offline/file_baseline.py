"""A file through featurize, and what is usual at its sensor: by the file alone, or by files called quiet."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.alert.wording import flows as so_many_flows
from pipeline.errors import BadData, Usage
from pipeline.featurize.baseline.judge import has_baselines
from pipeline.featurize.baseline.phases import LEAST_ROWS
from pipeline.featurize.baseline.quiet_stretch import anchored, learning_in, moved
from pipeline.featurize.baseline.sensor_baseline import Baseline, no_baseline
from pipeline.featurize.feature_set import FeatureSet
from pipeline.featurize.sensor import featurize_file
from pipeline.featurize.windows.calendars import Calendars
from pipeline.ingest.files.offline_rows import Decoded
from pipeline.settings import Settings
from pipeline.tools.offline.wording import span
from schemas.learning import Learning

LEAST_QUIET_US = 600_000_000
"""In less than ten minutes hardly anything comes back often enough to be told from what does not."""


@dataclass(frozen=True, slots=True)
class QuietStretch:
    """Files that a person calls quiet, as one stretch: flows, how long it lasts, and the end of the last file."""

    flows: int
    span_us: int
    ended_us: int


def featurized(
    decoded: Decoded,
    settings: Settings,
    feature_set: FeatureSet,
    learning: Learning,
    baseline: Baseline | None = None,
) -> tuple[pa.RecordBatch, Baseline]:
    """A file's rows of schema `features`, and the sensor's baseline after them; baseline: before, taken over."""
    done = featurize_file(
        decoded.flows,
        settings.lateness_of(decoded.site),
        window_us=settings.stitch_of(decoded.site),
        feature_set=feature_set,
        calendars=Calendars(settings.calendars),
        site=decoded.site,
        learning=learning,
        sensor=decoded.sensor,
        baseline=baseline,
    )
    return done.rows, done.states[0].baseline


def learn_quiet(quiet: Sequence[Decoded], settings: Settings, feature_set: FeatureSet) -> tuple[Baseline, QuietStretch]:
    """What is usual by these files, one behind the other however far they lie apart, and fixed behind the last.

    BadData where they are too few flows or too short, Usage where the feature set has no baselines.
    """
    if not has_baselines(feature_set):
        raise Usage(f"--quiet: got feature set {feature_set.name}, expected one with baselines, as forebay-ics-1")
    spans_us = [_last_us(decoded) - _first_us(decoded) for decoded in quiet]
    flows, span_us = sum(decoded.flows.num_rows for decoded in quiet), sum(spans_us)
    if flows < LEAST_ROWS or span_us < LEAST_QUIET_US:
        raise BadData(
            f"--quiet: got {so_many_flows(flows)} in {span(span_us)}, expected at least {LEAST_ROWS} in "
            f"{span(LEAST_QUIET_US)}; give a longer stretch, or further files"
        )
    learning = learning_in(settings.learning_of(quiet[0].site), span_us)
    baseline, parts, ended_us = no_baseline(), list[pa.RecordBatch](), 0
    for decoded in sorted(quiet, key=_first_us):
        if baseline.has_begun:
            baseline = moved(baseline, _first_us(decoded) - ended_us)
        rows, baseline = featurized(decoded, settings, feature_set, learning, baseline)
        parts.append(rows)
        ended_us = _last_us(decoded)
    baseline = anchored(baseline, pa.concat_batches(parts), ended_us, learning)
    return baseline, QuietStretch(flows, span_us, ended_us)


def before(decoded: Decoded, baseline: Baseline, quiet: QuietStretch) -> Baseline:
    """The baseline of a quiet stretch as if it had ended where a file begins; taken over."""
    return moved(baseline, _first_us(decoded) - quiet.ended_us)


def _first_us(decoded: Decoded) -> int:
    return int(pc.min(decoded.flows.column("end_ts_us")).as_py())


def _last_us(decoded: Decoded) -> int:
    return int(pc.max(decoded.flows.column("end_ts_us")).as_py())
