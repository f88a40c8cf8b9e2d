"""A flame graph of each stage while the whole flow works, and which functions take the most.

`python -m tests.bench.flames [--py-spy PROGRAM] [--seconds N]`: half a minute. py-spy is no requirement of this
project: `pip install py-spy` in any environment, and name its program where it is not on the PATH. It samples the
threads that run Python, 100 times a second, without stopping them; what the Kafka client's own threads take comes from
the system, thread by thread, and stands beside. Writes docs/performance/flame-STAGE.svg, flames.json and the tables.
"""

import argparse
import re
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from pipeline.tools.processes import STAGES
from tests.bench import figures
from tests.bench.bench_flow import Flow, Pids, measure, place
from tests.bench.path import TICKS
from tests.docs.tables import write_pages

WIDTH, ROW = 1200, 17
LEAST_SHARE = 0.003
"""A narrower box holds no letter and would only make the file large."""
MOST_ROWS = 40
TOP = 6
KAFKA = "Kafka client's threads"
RATE_HZ = 100
TINTS = (("pipeline/", "#8fb8de"), ("models/", "#e6a39a"), (KAFKA, "#b9d8b1"))
OTHER = "#ded6c4"
_LINE = re.compile(r":\d+\)$")


@dataclass(slots=True)
class Box:
    """A function, as called from the one above it; weight: its samples, those of what it calls included."""

    weight: float = 0.0
    inside: dict[str, "Box"] = field(default_factory=dict)


def folded(text: str) -> Counter[tuple[str, ...]]:
    """Stacks, outermost function first, with their samples; lines of one function are one.

    main (a.py:3);work (b.py:7) 12    →    ("main (a.py)", "work (b.py)"): 12
    """
    stacks: Counter[tuple[str, ...]] = Counter()
    for line in text.splitlines():
        names, _, count = line.rpartition(" ")
        if names:
            stacks[tuple(_LINE.sub(")", name) for name in names.split(";"))] += int(count)
    return stacks


def tree(stacks: Counter[tuple[str, ...]], kafka_share: float) -> Box:
    """The stacks as boxes, of weight 1 in all; `kafka_share` of it are the Kafka client's own threads."""
    root, samples = Box(1.0), sum(stacks.values())
    root.inside[KAFKA] = Box(kafka_share)
    for names, count in stacks.items():
        box, weight = root, count / samples * (1 - kafka_share)
        for name in names:
            box = box.inside.setdefault(name, Box())
            box.weight += weight
    return root


def largest(stacks: Counter[tuple[str, ...]], kafka_share: float) -> list[tuple[str, float]]:
    """The functions that are innermost most often, with their share of all CPU."""
    own: Counter[str] = Counter()
    for names, count in stacks.items():
        own[names[-1]] += count
    samples = max(1, sum(own.values()))
    shares = [(name, count / samples * (1 - kafka_share)) for name, count in own.most_common(TOP)]
    return sorted([*shares, (KAFKA, kafka_share)], key=lambda each: -each[1])


def drawn(title: str, root: Box) -> str:
    """An SVG: the outermost functions on top, as wide as their share; the pointer over a box shows its name."""
    boxes = list(_laid_out(root, 0.0, 0))
    height = ROW * (2 + max((row for _, _, row, _ in boxes), default=0) + 1)
    parts = [f'<text x="6" y="13" font-weight="bold">{escape(title)}</text>']
    for name, left, row, weight in boxes:
        tint = next((tint for mark, tint in TINTS if mark in name), OTHER)
        x, wide, y = left * WIDTH, weight * WIDTH, (row + 1) * ROW
        letters = int(wide / 6.2) - 1
        shown = f'<text x="{x + 3:.1f}" y="{y + 12}">{escape(name[:letters])}</text>' if letters > 3 else ""
        parts.append(
            f'<g><title>{escape(name)} {weight:.1%}</title><rect x="{x:.1f}" y="{y}" width="{wide:.1f}" '
            f'height="{ROW - 1}" fill="{tint}"/>{shown}</g>'
        )
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}">\n'
        "<style>text{font:11px monospace;fill:#222}</style>\n"
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>\n{body}\n</svg>\n'
    )


def _laid_out(box: Box, left: float, row: int) -> Iterator[tuple[str, float, int, float]]:
    """Name, left edge, row and width of each box that is wide enough."""
    for name, inner in sorted(box.inside.items(), key=lambda each: -each[1].weight):
        if inner.weight >= LEAST_SHARE and row < MOST_ROWS:
            yield name, left, row, inner.weight
            yield from _laid_out(inner, left, row + 1)
        left += inner.weight


def threads_s(pid: int) -> Counter[str]:
    """CPU seconds of a process by its threads' names, as the system knows them."""
    used: Counter[str] = Counter()
    for task in Path(f"/proc/{pid}/task").iterdir():
        name, _, rest = (task / "stat").read_text(encoding="ascii").partition("(")[2].rpartition(")")
        fields = rest.split()
        used[name] += (int(fields[11]) + int(fields[12])) / TICKS  # type: ignore[assignment]
    return used


def kafka_share(before: Counter[str], after: Counter[str]) -> float:
    """Which share of a process's CPU its Kafka client's threads took."""
    used = {name: after[name] - before[name] for name in after}
    return sum(value for name, value in used.items() if name.startswith("rdk:")) / max(sum(used.values()), 1e-9)


class Sampling:
    """py-spy on each stage, and the threads' times, from when the flow works."""

    def __init__(self, program: str, seconds: int, folder: Path) -> None:
        self._program, self._seconds, self._folder = program, seconds, folder
        self._before: dict[str, Counter[str]] = {}
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.shares: dict[str, float] = {}
        self._pids: Pids = {}

    def start(self, pids: Pids) -> None:
        """Sample every stage for so many seconds; until then the flow is left alone with it."""
        self._pids = pids
        time.sleep(2.0)
        for stage in STAGES:
            out = str(self._folder / stage)
            command = [self._program, "record", "--pid", str(pids[stage]), "--duration", str(self._seconds)]
            options = ["--rate", str(RATE_HZ), "--format", "raw", "--nonblocking", "--output", out]
            self._before[stage] = threads_s(pids[stage])
            self._running[stage] = subprocess.Popen(
                [*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
        for stage, sampler in self._running.items():
            sampler.wait()
            self.shares[stage] = kafka_share(self._before[stage], threads_s(pids[stage]))

    def stacks(self, stage: str) -> Counter[tuple[str, ...]]:
        """What py-spy saw of a stage."""
        path = self._folder / stage
        return folded(path.read_text(encoding="utf-8")) if path.exists() else Counter()


def main() -> None:
    """Run the flow, draw each stage."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--py-spy", default=shutil.which("py-spy") or "", help="where the program is not on the PATH")
    parser.add_argument("--seconds", type=int, default=12)
    parser.add_argument("--records", type=int, default=1_600_000)
    parser.add_argument("--pack", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="few records, to var/performance")
    arguments = parser.parse_args()
    if not arguments.py_spy:
        parser.error("no py-spy on the PATH; `pip install py-spy` in any environment, and name it with --py-spy")
    folder = figures.QUICK_FOLDER if arguments.quick else figures.FOLDER
    records, seconds = (60_000, 3) if arguments.quick else (arguments.records, arguments.seconds)
    started = figures.origin("python -m tests.bench.flames")
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {}
    with place(quiet_records=3_000 if arguments.quick else 20_000) as where:
        sampling = Sampling(arguments.py_spy, seconds, where.folder)
        measure(where, Flow(records, arguments.pack), sampling.start)
        for stage in STAGES:
            stacks, share = sampling.stacks(stage), sampling.shares[stage]
            title = f"{stage}, {arguments.pack} a message, {seconds} s, {sum(stacks.values())} samples"
            (folder / f"flame-{stage}.svg").write_text(drawn(title, tree(stacks, share)), encoding="utf-8")
            found[stage] = {"samples": sum(stacks.values()), "top": largest(stacks, share)}
            print(stage, found[stage], flush=True)
    figures.write(folder, "flames", {"seconds": seconds, "records": records, "stages": found}, started)
    if not arguments.quick:
        write_pages()


if __name__ == "__main__":
    main()
