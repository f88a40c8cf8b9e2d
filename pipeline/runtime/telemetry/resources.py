"""What runs out while a stage works: the disk below its folders, and the certificates it shows Kafka."""

import shutil
import time
from functools import partial
from pathlib import Path

from pipeline.errors import BadData, ForebayError
from pipeline.runtime.certificates import certificates
from pipeline.runtime.telemetry.logs import log
from pipeline.runtime.telemetry.metrics import Metrics
from pipeline.settings import Settings

# Stage -> what it writes, and the setting that says where. Where that is a bucket there is nothing to measure.
FOLDERS = {
    "featurize": {"state": "state_uri"},
    "alert": {"state": "state_uri"},
    "archive": {"archive": "archive_uri"},
    "retrain": {"models": "registry_uri", "samples": "samples_uri"},
}


def watch_resources(metrics: Metrics, settings: Settings) -> None:
    """Make the gauges of a stage's disks and certificates; each is asked when it is scraped.

    A certificate is read once: the worker's connections go on with it until it is started again, whatever the file
    holds meanwhile.
    """
    from pipeline.runtime.storage.location import local_folder  # pyarrow, which a command's help does without

    stage = metrics.stage_name
    for folder, setting in FOLDERS.get(stage, {}).items():
        try:
            path = local_folder(str(getattr(settings, setting)))
        except ForebayError:
            continue  # the stage itself says what is wrong with it, when it opens it
        if path is not None:
            metrics.gauge_function("forebay_disk_free_bytes", partial(free_bytes, path), stage=stage, folder=folder)
    try:
        for each in certificates(settings.security):
            metrics.gauge_function(
                "forebay_certificate_expiry_seconds",
                partial(_seconds_until, each.expires_s),
                stage=stage,
                certificate=each.kind,
            )
    except BadData as error:
        log("telemetry").warning("when the certificate expires is not known", error=str(error))


def free_bytes(folder: Path) -> float:
    """Bytes free on the disk of a folder, or of what is there above it; NaN where the system does not say."""
    try:
        there = next(above for above in (folder.absolute(), *folder.absolute().parents) if above.exists())
        return float(shutil.disk_usage(there).free)
    except OSError:
        return float("nan")


def _seconds_until(expires_s: int) -> float:
    return expires_s - time.time()
