"""How long an idle sensor is remembered: then ingest frees its slot, and featurize and alert its state (ADR 23)."""

# Event time of the partition, in microseconds. A day: who sends nothing for a night or a shift keeps its windows, and
# a sender that puts a date into the sensor's name leaves no more than two names behind.
SENSOR_RETENTION_US = 86_400_000_000
