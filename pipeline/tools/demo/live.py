"""The demo's live view on stderr: a table that redraws on a terminal, a line every few seconds elsewhere."""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

SEVERITY_STYLE = {"Critical": "bold red", "High": "red", "Medium": "yellow", "Low": "cyan", "Informational": "dim"}
LINE_EVERY_S = 5.0


@dataclass(frozen=True, slots=True)
class Picture:
    """The figures of one moment."""

    phase: str
    elapsed_s: float
    event_minutes: float
    total_minutes: float
    sent: int
    scored: int
    suspects: int
    incidents: int
    lag: int
    archived: int


class View:
    """Shows moments and alerts as they come."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._alerts: deque[Text] = deque(maxlen=8)
        self._rates: deque[tuple[float, int]] = deque(maxlen=3)
        """When how many rows had been scored: the rate is that of the last two pictures' time."""
        self._live = Live(console=console, refresh_per_second=4, transient=True) if console.is_terminal else None
        self._next_line_s = 0.0

    def __enter__(self) -> "View":
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def phase(self, text: str) -> None:
        """One line about what begins."""
        self._console.print(f"[bold]▸[/] {text}", soft_wrap=True)

    def alert(self, event_minutes: float, severity: str, sensor: str, title: str, techniques: Sequence[str]) -> None:
        """An incident that has just opened."""
        line = Text.assemble(
            (f"{event_minutes:5.1f} min  ", "dim"),
            (f"{severity:<14}", SEVERITY_STYLE.get(severity, "")),
            (f"{sensor:<7} ", "bold"),
            title,
            (f"  {', '.join(techniques)}" if techniques else "", "dim"),
        )
        self._alerts.append(line)
        if self._live is None:
            self._console.print(Text.assemble("  alert  ", line), soft_wrap=True)

    def show(self, now: Picture) -> None:
        """Redraw, or print a line when one is due."""
        self._rates.append((time.monotonic(), now.scored))
        (t0, n0), (t1, n1) = self._rates[0], self._rates[-1]
        rate = (n1 - n0) / (t1 - t0) if t1 > t0 else 0.0
        if self._live is not None:
            self._live.update(Group(self._table(now, rate), *self._alerts))
        elif time.monotonic() >= self._next_line_s:
            self._next_line_s = time.monotonic() + LINE_EVERY_S
            self._console.print(
                f"  {now.elapsed_s:4.0f} s  {now.phase}: minute {now.event_minutes:.1f} of {now.total_minutes:.0f}, "
                f"sent {now.sent:,}, scored {now.scored:,} ({rate:,.0f}/s), lag {now.lag}, suspects {now.suspects}, "
                f"incidents {now.incidents}, archived {now.archived:,}",
                soft_wrap=True,
            )

    def _table(self, now: Picture, rate: float) -> Table:
        table = Table(box=None, pad_edge=False)
        for name in ("", "plant time", "sent", "scored", "rows/s", "lag", "suspects", "incidents", "archived"):
            table.add_column(name, justify="right" if name else "left")
        table.add_row(
            f"{now.phase} {now.elapsed_s:.0f} s",
            f"{now.event_minutes:.1f} of {now.total_minutes:.0f} min",
            f"{now.sent:,}",
            f"{now.scored:,}",
            f"{rate:,.0f}",
            f"{now.lag:,}",
            f"{now.suspects:,}",
            f"{now.incidents}",
            f"{now.archived:,}",
        )
        return table
