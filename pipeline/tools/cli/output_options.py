"""Options of `forebay output`, and what they choose."""

from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import Misconfigured, Usage
from pipeline.runtime.terminal import printable

if TYPE_CHECKING:
    from pipeline.settings import Settings
    from schemas.outputs import OutputEntry

Outputs = Annotated[str | None, typer.Option(help="YAML file of outputs; FOREBAY_OUTPUTS by default.")]


def chosen_outputs(settings: "Settings", name: str | None) -> "tuple[OutputEntry, ...]":
    """The outputs asked for; Usage where there is none of the name, Misconfigured where there are none at all."""
    if not settings.outputs:
        raise Misconfigured(
            "FOREBAY_OUTPUTS: got no outputs, expected the name of a YAML file with some; docs/outputs.md has examples"
        )
    chosen = tuple(output for output in settings.outputs if name in (None, output.name))
    if not chosen:
        known = ", ".join(output.name for output in settings.outputs)
        raise Usage(f"output {printable(name or '', 80)}: got no such output, expected one of {known}")
    return chosen
