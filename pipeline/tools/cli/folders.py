"""The folders that settings name: checked before work starts, so that a wrong one is a setting to correct."""

import errno
import tempfile
from pathlib import Path

from pipeline.errors import Misconfigured
from pipeline.settings import Settings

# Setting -> what lies there.
FOLDERS = {
    "state_uri": "the state of windows and incidents",
    "archive_uri": "the archive",
    "registry_uri": "models",
    "samples_uri": "samples",
    "replay_uri": "replays",
    "run_folder": "the record and logs of `forebay up`",
}
# What an operating system says where a folder is no folder, or not ours to write.
REFUSALS = (errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.EACCES, errno.EPERM, errno.EROFS, errno.ELOOP)


def require_folders(settings: Settings) -> None:
    """Misconfigured where a setting names something that is there and is no folder; nothing is made or written."""
    for name in FOLDERS:
        folder = _folder(settings, name)
        if folder is None:
            continue
        try:
            there = next(above for above in (folder, *folder.parents) if above.exists())
        except OSError as error:
            raise _refused(name, folder, error.strerror or str(error)) from None
        if not there.is_dir():
            raise _refused(name, folder, f"{there}, which is a file")


def require_writable(settings: Settings, *names: str) -> None:
    """The folders that these settings name, made where they are missing; Misconfigured where one cannot be written."""
    for name in names:
        folder = _folder(settings, name)
        if folder is None:
            continue
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=folder):
                pass
        except OSError as error:
            raise _refused(name, folder, error.strerror or str(error)) from None


def setting_of(path: str, settings: Settings) -> str | None:
    """The setting whose folder a path lies in, the innermost one; None where it lies in none."""
    folders = {name: folder for name in FOLDERS if (folder := _folder(settings, name)) is not None}
    within = [name for name, folder in folders.items() if Path(path).absolute().is_relative_to(folder)]
    return max(within, key=lambda name: len(folders[name].parts), default=None)


def variable(name: str) -> str:
    """The environment variable of a setting."""
    return f"FOREBAY_{name.upper()}"


def _folder(settings: Settings, name: str) -> Path | None:
    """The folder a setting names; None where it names a bucket."""
    uri = str(getattr(settings, name))
    return None if "://" in uri else Path(uri).absolute()


def _refused(name: str, folder: Path, got: str) -> Misconfigured:
    return Misconfigured(
        f"{variable(name)} {folder}: got {got}, expected a folder for {FOLDERS[name]} that can be written; "
        f"correct the folder, or set {variable(name)} to another"
    )
