"""`forebay triage`: the page on which people see incidents and judge them."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.errors import Misconfigured
from pipeline.tools.cli.output import Bootstrap, Json, Prefix, emit, say
from pipeline.tools.cli.settings_here import settings_here
from pipeline.tools.triage.packages import packages

if TYPE_CHECKING:
    from pipeline.tools.triage.accounts import Accounts
    from pipeline.tools.triage.audit import Audit

app = typer.Typer(no_args_is_help=True, help="The page: incidents, map and sensors in a browser.")

FOLDER = Path("var/triage")
OfRunning = Annotated[
    Path | None, typer.Option("--data", help="Folder of the page's store; else that of the system that runs here.")
]
Data = Annotated[Path, typer.Option("--data", help="Folder of the page's store.")]
StoreUrl = Annotated[
    str | None, typer.Option("--store", help="postgresql://... of a store that several servers share.")
]


@app.callback()
def triage() -> None:
    """A page for people, and who may use it."""


@app.command()
def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; beyond loopback with TLS, and accounts or --oidc.")
    ] = ("127.0.0.1"),
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0: a free one.")] = 9480,
    data: Data = FOLDER,
    store: StoreUrl = None,
    alerts: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Alerts of a file instead of Kafka's, one a line; may be repeated."),
    ] = None,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Make the store again from its topics first.")] = False,
    tls_cert: Annotated[Path | None, typer.Option(help="Certificate, with its chain, in PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="The certificate's key, in PEM.")] = None,
    oidc: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="YAML file of an OpenID Connect provider at which people may sign in; FOREBAY_TRIAGE_OIDC by default.",
        ),
    ] = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    as_json: Json = False,
) -> None:
    """Serve the page until Ctrl-C; its store follows the topics.

    Without accounts it is for this machine alone. The document says where it listens, once it answers. A store retains
    what it has shown: alerts of a file get a folder of their own.

    Example: forebay triage serve --alerts alerts.jsonl --data var/file
    """
    with packages():
        from pipeline.tools.triage.serving import Request, serve

    def started(url: str, at: int) -> None:
        say(f"the page: {url}", quiet=as_json)
        emit({"url": url, "port": at})

    settings = settings_here(bootstrap=bootstrap, topic_prefix=prefix)
    provider = oidc or settings.triage_oidc
    request = Request(host, port, data, store, tuple(alerts or ()), rebuild, tls_cert, tls_key, provider)
    serve(request, settings, started)


user = typer.Typer(no_args_is_help=True, help="Accounts: who may use the page, and as what.")
app.add_typer(user, name="user")
Name = Annotated[str, typer.Argument(help="The account's name.")]
Stdin = Annotated[bool, typer.Option("--stdin", help="Read the password from standard input, a line, not a prompt.")]


@user.callback()
def accounts() -> None:
    """Accounts of people, in the page's store."""


@user.command()
def add(
    name: Name,
    role: Annotated[str, typer.Option(help="viewer: sees; analyst: judges too; admin: reads the audit log too.")],
    stdin: Stdin = False,
    data: OfRunning = None,
    store: StoreUrl = None,
    as_json: Json = False,
) -> None:
    """Make an account; its password is asked for, and is never an argument, which others on this machine could read."""
    accounts, audit = _opened(data, store)
    accounts.add(name, role, _password(stdin))
    audit.note(_operator(), "command line", "user add", f"{name}, {role}")
    say(f"{name} may sign in, as {role}; a page that runs without accounts asks for them once started again", as_json)
    emit({"name": name, "role": role})


@user.command()
def remove(name: Name, data: OfRunning = None, store: StoreUrl = None, as_json: Json = False) -> None:
    """Take an account away; its sessions end at once."""
    accounts, audit = _opened(data, store)
    accounts.remove(name)
    audit.note(_operator(), "command line", "user remove", name)
    say(f"{name} may not sign in any more", as_json)
    emit({"name": name})


@user.command()
def password(
    name: Name, stdin: Stdin = False, data: OfRunning = None, store: StoreUrl = None, as_json: Json = False
) -> None:
    """Give an account another password; its sessions end at once."""
    accounts, audit = _opened(data, store)
    accounts.set_password(name, _password(stdin))
    audit.note(_operator(), "command line", "user password", name)
    say(f"{name} has another password, and has to sign in again", as_json)
    emit({"name": name})


@user.command(name="list")
def list_accounts(data: OfRunning = None, store: StoreUrl = None, as_json: Json = False) -> None:
    """List accounts and their roles."""
    accounts, _ = _opened(data, store)
    every = accounts.every()
    for account, _ in every:
        say(f"{account.name}: {account.role}", quiet=as_json)
    if not every:
        say("no accounts: the page is for this machine alone", quiet=as_json)
    emit(
        {
            "users": [
                {"name": account.name, "role": account.role, "created_us": created_us} for account, created_us in every
            ]
        }
    )


def _opened(data: Path | None, store: str | None) -> "tuple[Accounts, Audit]":
    """The accounts in a store, and the log of what is done to them."""
    data = _folder_here() if data is None else data
    with packages():
        from pipeline.tools.triage.accounts import Accounts
        from pipeline.tools.triage.audit import Audit
        from pipeline.tools.triage.database import open_database
        from pipeline.tools.triage.tables import prepare
    database = open_database(data, store)
    prepare(database)
    return Accounts(database), Audit(database)


def _folder_here() -> Path:
    """The folder of the page that `forebay up` serves here: of the run folder in the settings, or of one beside it.

    Misconfigured where several run.
    """
    from pipeline.settings import load_settings
    from pipeline.tools.system.record import running_beside
    from pipeline.tools.system.worker_table import page_folder

    settings = load_settings()
    running = [] if "run_folder" in settings.model_fields_set else running_beside(settings.run_folder)
    if len(running) > 1 and settings.run_folder not in running:
        folders = [str(page_folder(each)) for each in running]
        raise Misconfigured(f"--data: got systems of several folders that run, expected one of {', '.join(folders)}")
    folder = running[0] if len(running) == 1 else settings.run_folder
    return page_folder(folder)


def _password(stdin: bool) -> str:
    """A password that was typed twice, or a line of standard input."""
    import sys

    if stdin:
        return sys.stdin.readline().rstrip("\r\n")
    given: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return given


def _operator() -> str:
    """Who works on this machine."""
    from pipeline.tools.triage.sessions import LocalUser

    return LocalUser().name
