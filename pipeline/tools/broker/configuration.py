"""The single-node broker's own settings, as the files it reads."""

from pathlib import Path

from pipeline.runtime.kafka.clients import MAX_MESSAGE_BYTES

HOST = "127.0.0.1"
HEAP_MB = 512

# No internal topic can have more than one replica on one node, and nobody should wait for a second member.
SINGLE_NODE = {
    "offsets.topic.replication.factor": 1,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "group.initial.rebalance.delay.ms": 0,
    # The defaults (50) are for clusters; on one node they cost files, memory and seconds.
    "offsets.topic.num.partitions": 8,
    "transaction.state.log.num.partitions": 8,
    "share.coordinator.state.topic.num.partitions": 1,
    # A broker that leaves hands its partitions over first. On one node there is nobody to take them: transactions were
    # seen that ended in this phase as committed, without a marker in any partition (docs/adr/0024). Then the group's
    # offsets stay unreadable, and the rows are aborted with the next transaction. Without it a stop is like a kill.
    "controlled.shutdown.enable": "false",
}

# After a kill -9 the controller waits for the dead broker's session before the new one may register (default 9 s).
SESSION = {"broker.heartbeat.interval.ms": 1_000, "broker.session.timeout.ms": 4_000}

LIMITS = {
    "auto.create.topics.enable": "false",
    "message.max.bytes": MAX_MESSAGE_BYTES,
    "replica.fetch.max.bytes": MAX_MESSAGE_BYTES,
    "socket.request.max.bytes": 4 * MAX_MESSAGE_BYTES,
    # How long each topic keeps its messages is said per topic (schemas/topics.toml).
    "log.segment.bytes": 268_435_456,
    # Written to when the broker starts; our compacted topics hold some thousand keys, 24 bytes each.
    "log.cleaner.dedupe.buffer.size": 4_194_304,
    "num.network.threads": 2,
    "num.io.threads": 4,
    # One person's topics on one disk: deleting and flushing them needs no ten threads, each with a stack of its own.
    "background.threads": 2,
    "group.coordinator.threads": 1,
    "share.coordinator.threads": 1,
    # An idle controller writes a record twice a second, so that others see that it lives; here are no others.
    "metadata.max.idle.interval.ms": 0,
}


def server_properties(logs: Path, port: int, controller_port: int) -> str:
    """The text of server.properties: broker and controller in one process, reachable from this machine only."""
    identity = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "listeners": f"BROKER://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "advertised.listeners": f"BROKER://{HOST}:{port}",
        "inter.broker.listener.name": "BROKER",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT",
        # A properties file reads a backslash as an escape.
        "log.dirs": str(logs).replace("\\", "\\\\"),
    }
    return "".join(f"{name}={value}\n" for name, value in {**identity, **SINGLE_NODE, **SESSION, **LIMITS}.items())


# Kafka says some 2,000 lines at INFO while it starts; warnings and the stations of its life are enough.
LOGGING = """\
status = warn
appender.file.type = RollingFile
appender.file.name = file
appender.file.fileName = ${sys:forebay.broker.folder}/broker.log
appender.file.filePattern = ${sys:forebay.broker.folder}/broker.%i.log
appender.file.layout.type = PatternLayout
appender.file.layout.pattern = %d{yyyy-MM-dd'T'HH:mm:ss.SSS} %p %m (%c)%n
appender.file.policies.type = Policies
appender.file.policies.size.type = SizeBasedTriggeringPolicy
appender.file.policies.size.size = 10MB
appender.file.strategy.type = DefaultRolloverStrategy
appender.file.strategy.max = 3
rootLogger.level = warn
rootLogger.appenderRef.file.ref = file
logger.life.name = kafka.server
logger.life.level = info
logger.configuration.name = kafka.server.KafkaConfig
logger.configuration.level = warn
"""


FOLDER_OPTION = "-Dforebay.broker.folder="

# Of every Java of ours: a file of classes that one has linked (`-XX:AOTCache`) is of use only to those alike.
ALIKE = (
    "-XX:+UseSerialGC",
    # Without the slow compiler: a third of the idle broker's CPU and 30 MiB, and loads of minutes take no longer.
    "-XX:TieredStopAtLevel=1",
    # Java 25 has it; the older one on somebody's PATH does not know it, or calls it an experiment.
    *("-XX:+IgnoreUnrecognizedVMOptions", "-XX:+UnlockExperimentalVMOptions", "-XX:+UseCompactObjectHeaders"),
    # The JVM would keep a file in the system's temporary folder for tools that watch it.
    "-XX:-UsePerfData",
    "--enable-native-access=ALL-UNNAMED",
)


def java_options(folder: Path, run_id: str) -> list[str]:
    """The JVM's options; `run_id` in the command line is how a pid is known to be this broker."""
    return [
        f"-Xmx{HEAP_MB}m",
        # By default the heap starts with a 64th of the machine's memory, and what was touched once stays.
        "-Xms64m",
        *ALIKE,
        # Memory that is free goes back to the system.
        "-XX:MinHeapFreeRatio=10",
        "-XX:MaxHeapFreeRatio=30",
        "-XX:+ExitOnOutOfMemoryError",
        f"-XX:ErrorFile={folder / 'java-crash.log'}",
        "-Djava.awt.headless=true",
        f"-Djava.io.tmpdir={folder / 'tmp'}",
        f"-Dlog4j2.configurationFile={folder / 'log4j2.properties'}",
        f"{FOLDER_OPTION}{folder}",
        f"-Dforebay.broker.run={run_id}",
    ]
