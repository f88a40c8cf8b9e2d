"""`forebay model`: train, ablate, evaluate, report, calibrate, shadow, promote; what the registry holds."""

import typer

from pipeline.tools.cli import (
    model_backtest,
    model_evaluate,
    model_export,
    model_promote,
    model_protocol,
    model_shadow,
    model_show,
    model_train,
)

app = typer.Typer(
    no_args_is_help=True,
    help="train, ablate, evaluate, report, calibrate, list, show, verify, card, export, backtest, shadow, promote.",
)
app.command()(model_train.train)
app.command()(model_train.ablate)
app.command()(model_evaluate.evaluate)
app.command()(model_protocol.report)
app.command()(model_train.calibrate)
app.command("list")(model_show.list_)
app.command()(model_show.show)
app.command()(model_show.verify)
app.command()(model_show.card)
app.command()(model_export.export)
app.command()(model_backtest.backtest)
app.command()(model_shadow.shadow)
app.command()(model_promote.promote)
