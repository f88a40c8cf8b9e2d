"""How long an idle sensor is remembered: then ingest frees its slot, and featurize and alert its state (ADR 23)."""

# Event time of the partition, in microseconds. A day: who sends nothing for a night or a shift keeps its windows, and
# a sender that puts a date into the sensor's name leaves no more than two names behind.
SENSOR_RETENTION_US = 86_400_000_000

# What is usual at a sensor outlasts that, in featurize alone: a weekend, works holidays of three weeks, what runs once
# a month. A sender that puts a date into the sensor's name leaves no more than 35 baselines behind.
BASELINE_RETENTION_US = 35 * SENSOR_RETENTION_US
