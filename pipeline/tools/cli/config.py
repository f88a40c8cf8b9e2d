"""`forebay config`: what is set, and what can be."""

from typing import Annotated

import typer

from pipeline.settings import Settings, load_settings
from pipeline.tools.cli.output import Json, emit, say
from schemas.outputs import destination_of

app = typer.Typer(no_args_is_help=True, help="Settings: show, schema.")


@app.command()
def show(
    as_json: Json = False,
    redact: Annotated[bool, typer.Option(hidden=True, help="Nothing: what is below `security` is never shown.")] = True,
) -> None:
    """Every setting with its value in force (environment > FOREBAY_CONFIG file > default); of `security` the names."""
    settings = load_settings()
    values = settings.model_dump(mode="json")
    values["security"] = dict.fromkeys(values["security"], "***")
    for output, shown in zip(settings.outputs, values["outputs"], strict=True):
        if "webhook" in shown:  # its path is what many services take for a password
            shown["webhook"] = destination_of(output)
    for name, value in values.items():
        default = Settings.model_fields[name].get_default(call_default_factory=True)
        mark = " " if str(default) == str(value) else "*"
        say(f"{mark} {name:<24} {value}", quiet=as_json)
    say("* differs from the default", quiet=as_json)
    emit(values)


@app.command()
def schema() -> None:
    """The JSON schema of the settings file."""
    emit(Settings.model_json_schema())
