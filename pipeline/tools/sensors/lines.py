"""A sensor's history in lines for people. Pure."""

from pipeline.contracts.notice_words import headline, moment, relation_lines
from pipeline.contracts.notices import RELEARNT
from pipeline.tools.sensors.histories import SensorHistory


def history_lines(history: SensorHistory) -> list[str]:
    """What happened to a sensor's baseline, oldest first: a line a notice, and under it one a relation."""
    lines, began_us = list[str](), 0
    for number, notice in enumerate([*history.notices, history.last.notice]):
        if notice.figures["began_us"] not in (0, began_us):  # 0: no flow has come since it was forgotten
            began_us = notice.figures["began_us"]
            lines.append(f"{moment(began_us)}       learning from its first flow on")
        if number < len(history.notices):
            lines.append(f"{moment(notice.at_us)}  {f'#{notice.number}':<4} {headline(notice)}")
            lines += [f"{'':28}{line}" for line in relation_lines(notice)]
        if notice.kind == RELEARNT:
            began_us = 0
    return lines
