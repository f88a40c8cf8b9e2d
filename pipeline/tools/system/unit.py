"""A systemd unit for `forebay up`, with the interpreter and folders as they are, and as few rights as it needs."""

import os
import pwd
import sys
from pathlib import Path

from pipeline.settings import Settings

NAME = "forebay.service"

UNIT = """\
# Made by `forebay up --systemd`.
[Unit]
Description=Forebay: flow records in, graded and explained alerts out
Documentation=file://{documentation}
Wants=network-online.target
After=network-online.target

[Service]
# It says when every worker is ready; until then `systemctl start` waits.
Type=notify
NotifyAccess=main
ExecStart={command}
WorkingDirectory={folder}
{environment}User={user}
Restart=on-failure
RestartSec=5
# 73: it runs already; 78: a setting to be corrected. Starting it again would not help.
RestartPreventExitStatus=73 78
# The supervisor alone is asked: it ends its workers and Kafka in order. What is left after that is killed.
KillMode=mixed
TimeoutStartSec=300
TimeoutStopSec=60
LimitNOFILE=65536
UMask=0027

# What it does not need is taken away. It needs the network, its folder, and memory that is written and executed
# (Kafka's Java and the compiled scanners): MemoryDenyWriteExecute would stop both.
NoNewPrivileges=yes
ProtectSystem=strict
ReadWritePaths={writable}
ProtectHome={protect_home}
PrivateTmp=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
CapabilityBoundingSet=
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallErrorNumber=EPERM

[Install]
WantedBy=multi-user.target
"""


def unit(arguments: list[str], variables: dict[str, str], folders: list[Path]) -> str:
    """The text of the unit.

    Parameters
    ----------
    arguments : what follows `forebay up`
    variables : set as Environment=, without secrets
    folders : what it must write beside its working folder
    """
    here = Path.cwd()
    command = [sys.executable, "-m", "pipeline.tools.cli", "up", *arguments]
    writable = sorted({here, *folders})
    return UNIT.format(
        documentation=_quoted(str(Path(__file__).resolve().parents[3] / "docs" / "operations.md")),
        command=" ".join(_quoted(word) for word in command),
        folder=_quoted(str(here)),
        environment="".join(f"Environment={_quoted(f'{name}={value}')}\n" for name, value in sorted(variables.items())),
        user=pwd.getpwuid(os.getuid()).pw_name,
        writable=" ".join(_quoted(str(folder)) for folder in writable),
        # Code, model or data below /home must stay visible; written is only what ReadWritePaths names.
        protect_home="read-only" if _below_home([here, Path(sys.executable), *folders]) else "yes",
    )


def variables_in_force(settings: Settings) -> dict[str, str]:
    """The settings that are not the default, as variables; `security` may hold passwords and is left out."""
    variables = settings.variables()
    default = Settings.model_construct().variables()
    left_out = ("FOREBAY_SECURITY", "FOREBAY_RUN_FOLDER", "FOREBAY_BOOTSTRAP", "FOREBAY_TOPIC_PREFIX")
    return {name: value for name, value in variables.items() if value != default.get(name) and name not in left_out}


def _below_home(paths: list[Path]) -> bool:
    homes = (Path("/home"), Path("/root"), Path("/run/user"))
    return any(path.absolute().is_relative_to(home) for path in paths for home in homes)


def _quoted(text: str) -> str:
    """As systemd reads it: percent doubled, and in quotes where there is a space or a quote in it."""
    text = text.replace("%", "%%")
    if not set(text) & set(" \t\"'\\;$"):
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$") + '"'
