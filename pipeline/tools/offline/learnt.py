"""How far a sensor got in learning what is usual while a file was read, in words and for machines."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.alert.wording import flows
from pipeline.contracts.baseline import Phase
from pipeline.tools.offline.file_baseline import QuietStretch
from pipeline.tools.offline.wording import span
from schemas.learning import Learning


@dataclass(frozen=True, slots=True)
class Learnt:
    """How far learning got.

    phase: at the end of the file. file_us: how long the file lasts. learnt_us, anchored_us: after how long the sensor
    came to show what is new, and was anchored; None where it did not, or was before the file.
    """

    phase: Phase
    file_us: int
    flows: int
    learnt_us: int | None
    anchored_us: int | None
    quiet: QuietStretch | None
    learning: Learning

    @property
    def has_shown(self) -> bool:
        """Whether some of the file was judged."""
        return self.quiet is not None or self.learnt_us is not None

    def document(self) -> dict[str, Any]:
        """As JSON values, times in seconds."""
        quiet = self.quiet and {"flows": self.quiet.flows, "seconds": self.quiet.span_us // 1_000_000}
        return {
            "phase": self.phase.name.lower(),
            "file_s": self.file_us // 1_000_000,
            "learnt_s": None if self.learnt_us is None else self.learnt_us // 1_000_000,
            "anchored_s": None if self.anchored_us is None else self.anchored_us // 1_000_000,
            "needed_s": self.learning.least_s,
            "quiet": quiet,
        }

    def words(self) -> str:
        """In a sentence or two."""
        if self.quiet is not None:
            quiet = f"{span(self.quiet.span_us)} of quiet traffic, {flows(self.quiet.flows)}"
            return f"learnt what is usual from {quiet}; the file is judged by it"
        if self.learnt_us is not None:
            further = f", fixed after {span(self.anchored_us)}" if self.anchored_us is not None else ""
            says = f"learnt what is usual in the first {span(self.learnt_us)} of the file{further}; "
            return says + "what comes after that is judged by it"
        least_us = 1_000_000 * self.learning.least_s
        nothing = "nothing is called a suspect"
        if self.file_us < least_us:
            needed = f"{span(least_us)}, setting learning"
            return f"the file lasts {span(self.file_us)}: too short to learn what is usual ({needed}); {nothing}"
        return (
            f"the file lasts {span(self.file_us)} with {flows(self.flows)}: too few flows, or too much that is new, to "
            f"learn what is usual; {nothing}"
        )


def learnt_in(rows: pa.RecordBatch, quiet: QuietStretch | None, learning: Learning) -> Learnt | None:
    """How far learning got in a file's rows (schema `features`); None where the feature set has no baselines."""
    phases = rows.column("phase")
    if not rows.num_rows or phases.null_count:
        return None
    phase, end_us = phases.to_numpy(), rows.column("end_ts_us").to_numpy()
    on_time = rows.column("late_by_us").to_numpy() == 0
    first_us = int(end_us.min())
    since = {
        each: int(end_us[on_time & (phase >= each)].min()) - first_us if (on_time & (phase >= each)).any() else None
        for each in (Phase.SETTLING, Phase.ANCHORED)
    }
    if quiet is not None:
        since = dict.fromkeys(since)
    last = Phase(int(phase[on_time][np.argmax(end_us[on_time])])) if on_time.any() else Phase.NONE
    span_us = int(end_us.max()) - first_us
    return Learnt(last, span_us, rows.num_rows, since[Phase.SETTLING], since[Phase.ANCHORED], quiet, learning)
