"""A stateful stage as a Faust worker: one agent, positions of our own, any failure stops the process.

What Faust does here: group membership, rebalancing, fetching, the agent. What it does not: decide positions (see
`committed`), keep state or commit before state is saved (see `partitions`), restart what failed.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext, suppress
from typing import Any, Generic, TypeVar

import faust
from aiokafka.errors import KafkaConnectionError
from confluent_kafka import KafkaException

from pipeline.errors import Backpressure, Failed, KafkaUnreachable, Stalled
from pipeline.runtime import collector, failpoints
from pipeline.runtime.faust.committed import OwnPositionsTransport
from pipeline.runtime.faust.credentials import credentials
from pipeline.runtime.faust.partitions import Partitions
from pipeline.runtime.faust.stage import Incoming, Stage, State
from pipeline.runtime.kafka import clients
from pipeline.runtime.kafka.outage import KafkaWatch
from pipeline.runtime.kafka.producing import ProducerBroken
from pipeline.runtime.kafka.sessions import heartbeat_s, session_timeout_s
from pipeline.runtime.kafka.stall import StallDetector
from pipeline.runtime.shutdown import Stop
from pipeline.runtime.telemetry import Telemetry, log
from pipeline.settings import Settings

Answer = TypeVar("Answer")

POLL_EVERY_S = 0.1
# A fetch comes back within a tenth of it: where no message came for so long, none waits.
CAUGHT_UP_AFTER_S = 1.0
# aiokafka knows its position without asking, unless it hangs: then what was processed counts.
POSITION_S = 5.0
STOP_WITHIN_S = 20.0
# Asked to stop, a worker waits so long for Kafka to acknowledge its last messages; what it does not, the next one does
# again. With STOP_WITHIN_S it is within the minute that Kubernetes grants.
SAVE_ON_STOP_S = 10.0
# Messages of several partitions that lie ready are advanced together, until they have so many bytes: what a message
# costs whatever it holds is paid once (docs/adr/0052). Large ones would gain little, and hold up the loop.
MAX_TOGETHER_BYTES = 262_144
MAX_TOGETHER = 8
# Of `gather_ms`: so long a stage that gathers waits, once a step, where one partition's message has come alone.
GATHERED_WITHIN = 0.1


class _App(faust.App):
    """A Faust app without folders of its own: there are no tables."""

    positions_of: Any = None
    agent_failed: Any = None

    def _create_directories(self) -> None:
        return None

    async def _on_agent_error(self, agent: Any, exc: BaseException) -> None:
        self.agent_failed(exc)


def build_app(stage: str, settings: Settings) -> _App:
    """The Faust app of a stage."""
    group = f"{settings.topic_prefix}{stage}"
    session_s = session_timeout_s(settings, stage)
    app = _App(
        group,
        broker=[f"kafka://{server}" for server in settings.bootstrap.split(",")],
        broker_credentials=credentials(settings.security),
        broker_client_id=f"forebay-{stage}-{settings.instance_id}",
        # A restarted worker gets its partitions back at once instead of waiting out its own dead session.
        consumer_group_instance_id=f"{group}-{settings.instance_id}",
        key_serializer="raw",
        value_serializer="raw",
        store="memory://",
        # A message has up to 4 MiB of rows before it is packed (docs/adr/0048), and what is fetched ahead is memory; a
        # partition's fetch has one at least, however large it is.
        stream_buffer_maxsize=16,
        stream_wait_empty=False,
        broker_max_poll_records=200,
        consumer_max_fetch_size=2 * 1024 * 1024,
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=session_s,
        broker_heartbeat_interval=heartbeat_s(session_s),
        broker_max_poll_interval=300.0,
        table_standby_replicas=0,
        topic_allow_declare=False,
        topic_disable_leader=True,
        topic_replication_factor=settings.replication_factor,
        web_enabled=False,
        web_tables_enabled=False,
        worker_redirect_stdouts=False,
    )
    app.transport = OwnPositionsTransport(app.conf.broker_consumer, app)
    return app


class Worker(Generic[State]):
    """One stage's process."""

    def __init__(self, stage: Stage[State], settings: Settings, telemetry: Telemetry, kafka: KafkaWatch) -> None:
        self._stage = stage
        self._kafka = kafka
        self._telemetry = telemetry
        self._log = log(stage.name)
        self._partitions = Partitions(stage, settings, telemetry, self._wait_over)
        self._stopping_at: float | None = None
        self._saving = asyncio.Lock()  # taken before the other one
        self._lock = asyncio.Lock()
        self._save_task: asyncio.Task[None] | None = None
        self._stop = kafka.stop
        self._renewing = False
        # The next message of each of several partitions, and the offset of the one fetched just before it; not yet
        # advanced, so read again after a seek.
        self._together: dict[int, tuple[Any, int]] = {}
        self._gather_s = GATHERED_WITHIN * settings.gather_ms / 1000 if stage.gathers else 0.0
        self._fatal: BaseException | None = None
        self._advanced_at = time.monotonic()
        self._stall = StallDetector(settings, kafka)
        self._app: Any = build_app(stage.name, settings)
        self._app.positions_of = self._restore
        self._app.agent_failed = self._agent_failed
        self._app.on_partitions_revoked.connect(self._revoked, weak=False)
        source = self._app.topic(stage.source, key_type=bytes, value_type=bytes, acks=False)
        self._app.agent(source, name=stage.name)(self._work)

    async def run(self) -> None:
        """Until a signal asks to stop; raises what stopped it otherwise."""
        starting = asyncio.ensure_future(self._app.start())
        ready = False
        while not (self._stop.requested or self._failure()):
            self._telemetry.beat()
            await asyncio.sleep(POLL_EVERY_S)
            if starting.done() and not starting.exception() and not ready:
                ready = True
                self._kafka.announce(self._partitions.positions)
            elif starting.done() and (error := starting.exception()):
                self._fatal = self._fatal or error
            # Saving may wait for Kafka; the beat and the request to stop do not wait for it.
            if self._renewing:
                await self._renew()
            else:
                self._save_if_due()
            if ready:
                self._measure_lag()
                await self._notice_stall()
        self._stopping_at = time.monotonic()
        failure = self._failure()
        if failure is None:
            await self._save(only_if_due=False)
        elif self._save_task is not None:
            await asyncio.wait({self._save_task}, timeout=STOP_WITHIN_S)
        self._partitions.release()
        try:
            await asyncio.wait_for(self._app.stop(), STOP_WITHIN_S)
        except TimeoutError:
            self._log.warning("Faust did not stop in time; state is saved, leaving anyway", seconds=STOP_WITHIN_S)
        if failure is not None:
            raise failure

    def _wait_over(self) -> bool:
        """Whether to wait for Kafka no longer: the worker ends, by its own fault or on request."""
        if self._fatal is not None:
            return True
        return self._stopping_at is not None and time.monotonic() > self._stopping_at + SAVE_ON_STOP_S

    def _measure_lag(self) -> None:
        if time.monotonic() - self._advanced_at > CAUGHT_UP_AFTER_S:
            self._telemetry.stage.waiting_since(None)
        consumer = self._app.consumer
        assigned = consumer.assignment()
        lag = 0
        for partition, position in self._partitions.positions.items():
            tp = faust.types.TP(self._stage.source, partition)
            if tp in assigned:  # held a little longer than assigned, while a rebalance starts
                lag += max(0, (consumer.highwater(tp) or 0) - position)
        self._telemetry.gauge("forebay_lag_messages", lag, stage=self._stage.name)

    async def _notice_stall(self) -> None:
        """End the worker where aiokafka or Faust bring nothing although Kafka holds more; the next one reads on."""
        if self._lock.locked() or self._saving.locked() or self._renewing:  # saved or restored: may wait for Kafka
            self._stall.moved()
        if not self._stall.due:
            return
        consumer, reached = self._app.consumer, {}
        for partition, position in self._partitions.positions.items():
            tp = faust.types.TP(self._stage.source, partition)
            if tp in consumer.assignment():
                reached[tp.topic, partition] = position
                if not consumer.fetched_beyond(tp, position):  # what was fetched has been delivered
                    with suppress(TimeoutError):
                        fetched = await asyncio.wait_for(consumer.position(tp), POSITION_S)
                        reached[tp.topic, partition] = max(position, fetched or 0)
        try:
            await asyncio.to_thread(self._stall.check, reached)
        except Stalled as error:
            self._telemetry.stage.error()
            self._fatal = self._fatal or error

    def _failure(self) -> BaseException | None:
        if self._fatal is None and self._app.crashed:
            self._fatal = self._app.crash_reason or Failed(f"{self._stage.name}: Faust stopped without a reason")
        return self._fatal

    # ---- called by Faust

    async def _work(self, stream: Any) -> None:
        async for event in stream.noack().events():
            if event.message.partition in self._together:
                await self._advance_together()
            self._hold(event.message)
            if len(self._together) == 1 and not self._is_full and stream.channel.queue.empty():
                await asyncio.sleep(self._gather_s)
            if self._is_full or stream.channel.queue.empty():
                await self._advance_together()

    def _hold(self, message: Any) -> None:
        """Keep a message for the next step, unless it is a leftover of before a seek.

        It is asked about at once: a moment later the same offset may have been fetched again, and lie behind others.
        """
        before = self._app.consumer.fetched_before(message.tp, message.offset)
        if before is None or self._renewing:
            self._telemetry.count("forebay_messages_dropped", stage=self._stage.name)
        else:
            self._together[message.partition] = message, before

    @property
    def _is_full(self) -> bool:
        size = sum(len(message.value or b"") for message, _ in self._together.values())
        return len(self._together) >= min(MAX_TOGETHER, len(self._partitions.positions)) or size >= MAX_TOGETHER_BYTES

    async def _advance_together(self) -> None:
        async with self._lock:
            held = list(self._together.values())
            self._together.clear()
            if self._fatal is None and not self._stop.requested and not self._renewing:
                for message, _ in held:
                    await self._expect_held(message)
                self._advance(held)
                while self._partitions.blocked and not self._stop.requested:
                    await asyncio.to_thread(self._partitions.drain)
        self._save_if_due()
        if self._partitions.overdue and self._save_task is not None:
            await asyncio.wait({self._save_task})

    def _advance(self, held: Sequence[tuple[Any, int]]) -> None:
        if self._fatal is not None or not held:
            return
        incoming = [(_incoming(message), before) for message, before in held]
        self._advanced_at = time.monotonic()
        self._stall.moved()
        self._telemetry.stage.waiting_since(min(message.timestamp_us for message, _ in incoming))
        try:
            self._partitions.advance(incoming)
        except Exception as error:
            self._telemetry.stage.error()
            # Nothing is skipped: the position stays before these messages, and the process ends.
            for each, _ in incoming:
                self._log.error("stopped", topic=self._stage.source, partition=each.partition, offset=each.offset)
            self._fatal = error

    async def _expect_held(self, message: Any) -> None:
        """Check where messages before this one are missing: aiokafka silently skips what retention deleted."""
        if self._partitions.skips(message.partition, message.offset):
            try:
                await asyncio.to_thread(self._patiently, lambda: self._partitions.expect_held(message.partition))
            except Exception as error:
                self._telemetry.stage.error()
                self._fatal = self._fatal or error

    def _agent_failed(self, error: BaseException) -> None:
        self._fatal = self._fatal or error

    async def _restore(self, assigned: set[Any]) -> Mapping[Any, int]:
        ours = {tp.partition: tp for tp in assigned if tp.topic == self._stage.source}
        async with self._lock:
            self._together.clear()
            try:
                positions = await asyncio.to_thread(self._patiently, lambda: self._partitions.restore(set(ours)))
            except Exception as error:
                self._fatal = self._fatal or error
                raise
        return {ours[partition]: position for partition, position in positions.items() if partition in ours}

    def _patiently(self, ask: Callable[[], Answer]) -> Answer:
        """What Kafka answers, again while its absence is what hinders it; not in the event loop's thread."""
        while True:
            try:
                return ask()
            except (KafkaException, KafkaUnreachable) as error:
                self._kafka.endure(error)
                if not self._kafka.wait_until_back():
                    raise

    async def _renew(self) -> None:
        """Start over from the saved states with new producers: what is emitted again has the seq and bytes it had."""
        async with self._saving, self._lock:
            self._partitions.renew()
        await self._app.consumer.perform_seek()
        self._renewing = False

    def _endure(self, error: Exception) -> None:
        try:
            self._kafka.endure(error)
        except Exception as final:
            self._fatal = self._fatal or final

    async def _revoked(self, *_sender_and_revoked: Any, **_kwargs: Any) -> None:
        async with self._saving, self._lock:
            if self._fatal is None:
                await self._save_partitions(nullcontext())
            self._partitions.release()

    # ---- saving

    def _save_if_due(self) -> None:
        """Start a save beside the messages where one is due and none is under way."""
        if self._partitions.due and not self._renewing and (self._save_task is None or self._save_task.done()):
            self._save_task = asyncio.create_task(self._save(only_if_due=True))
            self._save_task.add_done_callback(self._save_ended)

    def _save_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fatal = self._fatal or error

    async def _save(self, only_if_due: bool) -> None:
        async with self._saving:
            if self._fatal is None and (self._partitions.due or not only_if_due):
                await self._save_partitions(self._lock)

    async def _save_partitions(self, lock: AbstractAsyncContextManager[None]) -> None:
        """Save what has moved; messages wait for a capture only, not for disk and Kafka. Called with `_saving` held."""
        started = time.perf_counter()
        written = []
        try:
            for partition in self._partitions.begin():
                async with lock:
                    if self._fatal is not None:  # a state may be taken over that has not led to anything
                        return
                    captured = await asyncio.to_thread(self._partitions.capture, partition)
                saved = await asyncio.to_thread(self._partitions.write, captured)
                if saved is not None:
                    written.append((captured, saved))
            positions = await asyncio.to_thread(self._partitions.point, written, started)
        except Backpressure as error:
            self._log.warning("left unsaved, the next worker does it again", error=str(error))
            return
        except ProducerBroken as error:
            self._endure(error)
            self._renewing = self._fatal is None
            return
        except Exception as error:
            self._telemetry.stage.error()
            self._fatal = self._fatal or error
            return
        if positions:
            offsets = {faust.types.TP(self._stage.source, partition): offset for partition, offset in positions.items()}
            self._kafka.progressed()
            await self._app.consumer.commit_positions(offsets)
            failpoints.reached(f"{self._stage.name}.offsets committed")


def _incoming(message: Any) -> Incoming:
    return Incoming(
        message.partition,
        message.offset,
        round(message.timestamp * 1000) * 1000,
        message.key,
        message.value,
        {name: value or b"" for name, value in _pairs(message.headers)},
    )


def _pairs(headers: Any) -> Any:
    return (headers.items() if isinstance(headers, Mapping) else headers) or ()


def run(stage: Stage[State], settings: Settings, telemetry: Telemetry) -> None:
    """Run a stage until it is asked to stop; raises what stopped it otherwise, its position unmoved."""
    failpoints.arm(settings.failpoint)
    clients.require_broker(settings)
    collector.freeze_loaded()
    started = time.monotonic()
    try:
        with KafkaWatch(stage.name, settings, telemetry, Stop().listen()) as kafka:
            asyncio.run(Worker(stage, settings, telemetry, kafka).run())
    except KafkaConnectionError as error:
        raise clients.unreachable(settings, error) from error
    log(stage.name).info("stopped", ran_s=round(time.monotonic() - started, 1))
