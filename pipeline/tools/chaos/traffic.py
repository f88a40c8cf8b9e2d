"""What flows in a campaign: a real plant's records, and a made-up one whose sensors mix up the order."""

import threading
import time
from dataclasses import replace
from pathlib import Path

from loadtest.plants.westermo import traffic as westermo
from loadtest.scenarios import SCENARIOS
from loadtest.sending import Load
from loadtest.sending import send as send_load
from pipeline.archive.upkeep.raw_counts import RawCounter
from pipeline.errors import Failed
from pipeline.runtime.kafka import clients
from pipeline.settings import Settings
from pipeline.tools.chaos.workers import Workers

RATE = 400.0
STRETCH_S = 6.0
START_S = 60.0
# When the real plant's records begin. Of sensors that share a partition one whose clock is months ahead lets the others
# begin anew (ADR 23), where they had sent before it: whether they had would differ from run to run.
START_US = westermo.CUT_US
WESTERMO_SPEED = "40"
PLANT = replace(SCENARIOS["untidy"], sites=2, sensors=2)


class Traffic:
    """Sends until it is stopped; then every sensor's end-of-source mark has been sent."""

    def __init__(self, settings: Settings, workers: Workers, folder: Path, seed: int) -> None:
        self._settings, self._workers, self._seed = settings, workers, seed
        self._stopped = threading.Event()
        self._refused = ""
        self.sent = 0
        self._senders = []
        folder.mkdir(parents=True)
        for sensor in westermo.SENSORS:
            path = folder / f"{sensor}.csv"
            self.sent += westermo.write_after_cut(sensor, path)
            with path.open("a") as file:
                file.write("this,is,not,a,flow\n")  # a reject has to survive as well
            self.sent += 1
            arguments = ("flow", "send", str(path), "--site", westermo.SITE, "--sensor", sensor)
            self._senders.append(workers.run(f"send-{sensor}", *arguments, "--speed", WESTERMO_SPEED))
        self._wait_until_sending()
        self._thread = threading.Thread(target=self._send, name="traffic", daemon=True)
        self._thread.start()

    def _wait_until_sending(self) -> None:
        """Until every sender's records come: one that finds no Kafka when it starts leaves, and that is no fault."""
        left, deadline = {(westermo.SITE, sensor) for sensor in westermo.SENSORS}, time.monotonic() + START_S
        counter = RawCounter(self._settings)
        try:
            while left := left - counter.poll().keys():
                for sender in self._senders:
                    if sender.process.poll() or time.monotonic() > deadline:
                        raise Failed(f"{sender.name} does not send; its log {sender.log} ends:\n{sender.last_words()}")
                time.sleep(0.1)
        finally:
            counter.close()

    def _send(self) -> None:
        try:
            self._send_on()
        except Exception as error:
            self._refused = repr(error)

    def _send_on(self) -> None:
        start_us = START_US
        records = round(RATE * STRETCH_S)
        connection = clients.connection(self._settings, "chaos-traffic")
        while not self._stopped.is_set():
            # Each stretch starts after the one before in event time, as if the sensors had ended and started again.
            load = Load(PLANT, records, self._seed, RATE, start_us=start_us)
            sent = send_load(load, self._settings.topics.raw, connection)
            self.sent += sent.records
            if not sent.finished:
                self._refused = sent.refused
                return
            start_us += load.span_us

    def finish(self, timeout_s: float) -> int:
        """Let what is under way be sent to its end; how many records that makes. Failed where Kafka refused some."""
        self._stopped.set()
        self._thread.join(timeout_s)
        deadline = time.monotonic() + timeout_s
        for sender in self._senders:
            if sender.process.wait(max(1.0, deadline - time.monotonic())) != 0:
                raise Failed(f"{sender.name} failed; its log {sender.log} ends:\n{sender.last_words()}")
        if self._refused or self._thread.is_alive():
            raise Failed(f"traffic: Kafka took not all of it: {self._refused or 'still sending'}")
        return self.sent
