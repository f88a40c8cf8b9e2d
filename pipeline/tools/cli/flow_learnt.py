"""What `forebay flow score` says of learning: how far the sensor got, and what a short file shows once."""

from rich.markup import escape

from pipeline.alert.wording import flows
from pipeline.contracts.notice_words import moment
from pipeline.runtime.terminal import printable
from pipeline.tools.cli.output import say
from pipeline.tools.offline.flow_file import FlowFile
from pipeline.tools.offline.not_back import NotBack


def print_learnt(done: FlowFile, quiet: bool) -> None:
    """On stderr; nothing of a sensor that the model is calibrated for and that learnt nothing beside."""
    decoded, learnt = done.decoded, done.learnt
    if learnt is None:
        if done.uncalibrated and done.rows.num_rows:
            say(
                f"[yellow]The model has never seen site {escape(printable(decoded.site))}:[/] its thresholds are "
                "another plant's, so expect far too many suspects. Give it a quiet stretch and score with the model "
                "that makes:"
                f"\n  forebay model calibrate --quiet QUIET-FILE --site {decoded.site} --sensor {decoded.sensor}",
                quiet=quiet,
            )
        return
    if done.uncalibrated or learnt.has_shown:
        sensor = escape(printable(f"{decoded.site}/{decoded.sensor}"))
        say(f"[yellow]{sensor}:[/] {learnt.words()}", quiet=quiet)
    if not done.not_back:
        return
    say("Seen here at one time only, the weightiest first; nobody knows yet whether it is usual:", quiet=quiet)
    for each in done.not_back:
        say("  " + escape(printable(_line(each))), quiet=quiet)
    if done.more_not_back:
        say(f"  and {done.more_not_back:,} more", quiet=quiet)
    say("Flows of the same sensor that are usual give a verdict: --quiet FILE", quiet=quiet)


def _line(seen: NotBack) -> str:
    further = f"; and {seen.others:,} more targets or services of {seen.source}" if seen.others else ""
    return f"{moment(seen.start_us)}  {flows(seen.flows):>11}  {seen.says}{further}"
