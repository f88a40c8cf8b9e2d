"""What makes each alarm fire, and what nearly does; series as promtool writes them (`0+1x9`: from 0, nine times 1)."""

from dataclasses import dataclass, field

Series = dict[str, str]
STAGES = ("ingest", "featurize", "score", "alert", "archive", "retrain")
DISK = 'forebay_disk_free_bytes{stage="archive",folder="archive"}'
CERTIFICATE = 'forebay_certificate_expiry_seconds{stage="score",certificate="client"}'
OUT = 'forebay_rows_out_total{stage="ingest",site="dam",sensor="weir"}'
REJECTED = 'forebay_rejected_total{stage="ingest",site="dam",sensor="weir",reason="%s"}'
SCORED = 'forebay_scored_rows_total{site="dam",sensor="weir",suspect="%s"}'
UNUSUAL = 'forebay_scored_unusual_rows_total{site="dam",sensor="weir"}'
OPENED = 'forebay_rows_out_total{stage="alert",activity="create"}'
SENSOR = {"site": "dam", "sensor": "weir"}


@dataclass(frozen=True)
class Case:
    """An alarm, the series at which it fires at `at`, saying `says`; those at which it does not."""

    alarm: str
    fires: Series
    quiet: Series
    says: str
    labels: dict[str, str] = field(default_factory=dict)
    at: str = "30m"
    interval: str = "1m"


def all_stages_but(*missing: str) -> Series:
    """One worker of each stage, some left out."""
    return {f'forebay_rows_in_total{{stage="{stage}"}}': "0+1x60" for stage in STAGES if stage not in missing}


STAGE_CASES = (
    Case(
        "ForebayWorkerDown",
        {'up{job="plant/forebay",instance="a:9464"}': "1x9 0x30"},
        {'up{job="plant/forebay",instance="a:9464"}': "1x28 0x2", 'up{job="node",instance="a:9100"}': "0x40"},
        "a:9464 does not answer: a worker, or the whole box, is down.",
        {"job": "plant/forebay", "instance": "a:9464"},
    ),
    Case(
        "ForebayStageMissing",
        all_stages_but("score"),
        all_stages_but(),
        "No worker of score reports anything.",
        {"stage": "score"},
    ),
    Case(
        "ForebayStageNotReady",
        {'forebay_ready{stage="alert",pod="alert-0"}': "1x9 0x30", 'forebay_worker_ready{stage="alert"}': "0x40"},
        {'forebay_ready{stage="alert",pod="alert-0"}': "1x40", 'forebay_ready{stage="alert",pod="alert-1"}': "0x40"},
        "No worker of alert is ready: it has no partitions, or Kafka does not answer.",
        {"stage": "alert"},
    ),
    Case(
        "ForebayWorkerRestarts",
        {'forebay_start_time_seconds{stage="score"}': "1x9 2x4 3x4 4x4 5x20"},
        {
            'forebay_start_time_seconds{stage="score"}': "1x9 2x4 3x30",
            'forebay_worker_restarts_total{stage="score"}': "9x40",
        },
        "A worker of score was started 4 times in half an hour.",
        {"stage": "score"},
    ),
    Case(
        "ForebayErrors",
        {'forebay_errors_total{stage="ingest"}': "0x20 0+1x20"},
        {'forebay_errors_total{stage="ingest"}': "0x20 1x20", 'forebay_errors_total{stage="output"}': "0+1x40"},
        "ingest had 9 errors in 15 minutes that are not in the data.",
        {"stage": "ingest"},
    ),
    Case(
        "ForebayKafkaSessionsEnded",
        {'forebay_kafka_sessions_ended_total{stage="ingest"}': "0x30 0+1x30"},
        {'forebay_kafka_sessions_ended_total{stage="ingest"}': "0x30 2x30"},
        "ingest lost Kafka 29 times in an hour.",
        {"stage": "ingest"},
        at="1h",
    ),
    Case(
        "ForebayStateSaveSlow",
        {
            'forebay_state_save_seconds_bucket{stage="alert",le="5"}': "0x60",
            'forebay_state_save_seconds_bucket{stage="alert",le="10"}': "0+10x60",
            'forebay_state_save_seconds_bucket{stage="alert",le="+Inf"}': "0+10x60",
        },
        {
            'forebay_state_save_seconds_bucket{stage="alert",le="5"}': "0+10x60",
            'forebay_state_save_seconds_bucket{stage="alert",le="10"}': "0+10x60",
            'forebay_state_save_seconds_bucket{stage="alert",le="+Inf"}': "0+10x60",
        },
        "alert takes over 5 s to save its state (one save in twenty: 9.8 s).",
        {"stage": "alert"},
        at="1h",
    ),
    Case(
        "ForebayProducerFull",
        {'forebay_producer_full_total{stage="score"}': "0+600x60"},
        {'forebay_producer_full_total{stage="score"}': "0x40 0+10x20"},
        "score waits for Kafka to take what it sends.",
        {"stage": "score"},
        at="1h",
    ),
)
FLOW_CASES = (
    Case(
        "ForebayLagRising",
        {'forebay_lag_seconds{stage="score"}': "0x9 0+60x50"},
        {'forebay_lag_seconds{stage="score"}': "600-10x30", 'forebay_lag_seconds{stage="alert"}': "0+1x40"},
        "score is 20m 0s behind, and falls further behind.",
        {"stage": "score"},
    ),
    Case(
        "ForebayLagNearRetention",
        {'forebay_lag_seconds{stage="retrain"}': "25200x40"},
        {'forebay_lag_seconds{stage="retrain"}': "18000x40"},
        "retrain is 7h 0m 0s behind; what is a day old is deleted unread.",
        {"stage": "retrain"},
    ),
    Case(
        "ForebayRecordsLost",
        {'forebay_offsets_deleted_unread_total{stage="ingest"}': "0x30 100x40"},
        {'forebay_offsets_deleted_unread_total{stage="ingest"}': "100x70"},
        "Kafka deleted messages before ingest read them: 100 offsets in an hour.",
        {"stage": "ingest"},
        at="1h",
    ),
    Case(
        "ForebayNothingComes",
        {'forebay_rows_in_total{stage="ingest"}': "0+9x30 270x60"},
        {'forebay_rows_in_total{stage="ingest"}': "0+9x30 270x50 270+1x20"},
        "No record of any sensor has come for an hour.",
        at="95m",
    ),
    Case(
        "ForebaySensorSilent",
        {OUT: "0+100x12 1200x20"},
        {OUT: "0+100x40", 'forebay_rows_out_total{stage="ingest",site="",sensor=""}': "0x40"},
        "Sensor dam/weir has sent nothing for an hour, and sent the day before.",
        SENSOR,
        at="4h",
        interval="10m",
    ),
    Case(
        "ForebayRejects",
        {OUT: "0+100x40", REJECTED % "src_port": "0+5x40"},
        {OUT: "0+10000x40", REJECTED % "src_port": "0+5x40"},
        "5% of what sensor dam/weir sends cannot be read.",
        SENSOR,
    ),
    Case(
        "ForebaySensorsRefused",
        {REJECTED % "too_many_sensors": "_x25 7x15"},
        {REJECTED % "too_many_sensors": "7x40", REJECTED % "src_port": "0+1x40"},
        "Records of sensor dam/weir are refused: its partition has all the sensors it may have.",
        SENSOR,
    ),
    Case(
        "ForebaySensorsNearBound",
        {
            'forebay_ingest_sensors{job="forebay",instance="a",partition="2"}': "250x40",
            'forebay_ingest_sensors_max{job="forebay",instance="a"}': "256x40",
        },
        {
            'forebay_ingest_sensors{job="forebay",instance="a",partition="2"}': "200x40",
            'forebay_ingest_sensors_max{job="forebay",instance="a"}': "256x40",
        },
        "Partition 2 has 97.66% of the sensors it may have.",
        {"job": "forebay", "instance": "a", "partition": "2"},
    ),
    Case(
        "ForebayLateFlows",
        {"forebay_late_rows_total": "0+5x60", 'forebay_rows_in_total{stage="featurize"}': "0+100x60"},
        {"forebay_late_rows_total": "0+5x60", 'forebay_rows_in_total{stage="featurize"}': "0+1000x60"},
        "5% of the flows come later than their sensor's lateness allows.",
        at="1h",
    ),
    Case(
        "ForebayMalformedRecords",
        {'forebay_malformed_records_total{topic="forebay.models"}': "0x30 2x40"},
        {'forebay_malformed_records_total{topic="forebay.models"}': "2x70"},
        "Somebody else writes to forebay.models: 2 records of it were ignored.",
        {"topic": "forebay.models"},
        at="1h",
    ),
    Case(
        "ForebayCommandsIgnored",
        {'forebay_ingest_commands_total{what="ignored"}': "0x30 1x40"},
        {'forebay_ingest_commands_total{what="taken"}': "0x30 1x40"},
        "Somebody writes commands to sensors' baselines that are none: 1 were ignored.",
        {"what": "ignored"},
        at="1h",
    ),
    Case(
        "ForebayFollowedFileCut",
        {"forebay_follow_gaps_total": "0x30 1x40"},
        {"forebay_follow_gaps_total": "1x70"},
        "A followed file was gone before its end was sent (1 in an hour).",
        at="1h",
    ),
    Case(
        "ForebayFollowerBehind",
        {"forebay_follow_behind_bytes": "0+20971520x60"},
        {"forebay_follow_behind_bytes": "0+1048576x60"},
        "The follower has 600MiB of files still to send, and it becomes more.",
    ),
)
DETECTION_CASES = (
    Case(
        "ForebayPage",
        {"forebay_pages_total": "0x27 1x10"},
        {"forebay_pages_total": "1x40"},
        "An incident became a page: somebody should look now (`forebay alert tail --pages`).",
    ),
    Case(
        "ForebayManyPages",
        {"forebay_pages_total": "0+1x60"},
        {"forebay_pages_total": "0x30 5x30"},
        "60 pages in an hour: more than people can look at.",
        at="1h",
    ),
    Case(
        "ForebayManyIncidents",
        {OPENED: "0+1x150 150+20x20"},
        {OPENED: "0+10x170"},
        "100 incidents were opened in an hour, over four times the week's mean.",
        at="26h",
        interval="10m",
    ),
    Case(
        "ForebayModelDrift",
        {SCORED % "yes": "0+1x120 120+50x120", SCORED % "no": "0+999x120 119880+950x120"},
        {SCORED % "yes": "0+50x240", SCORED % "no": "0+950x240"},
        "5% of the flows of dam/weir are suspects, over five times its usual share.",
        SENSOR,
        at="26h",
        interval="10m",
    ),
    Case(
        "ForebayScoresMove",
        {UNUSUAL: "0+100x120 12000+400x120", SCORED % "no": "0+1000x240"},
        {UNUSUAL: "0+400x240", SCORED % "no": "0+1000x240"},
        "38.89% of the flows of dam/weir are unusual, over twice its usual share.",
        SENSOR,
        at="26h",
        interval="10m",
    ),
    Case(
        "ForebayNoIncidents",
        {OPENED: "5x200", 'forebay_rows_in_total{stage="score"}': "0+100x200"},
        {OPENED: "0x150 1x50", 'forebay_rows_in_total{stage="score"}': "0+100x200"},
        "Flows come, and no incident was opened for a week.",
        at="190h",
        interval="1h",
    ),
    Case(
        "ForebayBaselineChanged",
        {'forebay_baseline_notices_total{kind="extended"}': "0x30 1x40"},
        {'forebay_baseline_notices_total{kind="admitted"}': "0x30 1x40"},
        "A sensor's plant is extended: what is usual there no longer holds, or much is new beside it.",
        {"kind": "extended"},
        at="1h",
    ),
    Case(
        "ForebayDevicesSilent",
        {'forebay_baseline_notices_total{kind="silent"}': "0x30 2x40"},
        {'forebay_baseline_notices_total{kind="silent"}': "2x70"},
        "Devices that a sensor usually sees have fallen silent (2 notices in an hour).",
        at="1h",
    ),
    Case(
        "ForebayTablesFull",
        {'forebay_window_keys_evicted{table="pairs"}': "0+600x60"},
        {'forebay_window_keys_evicted{table="pairs"}': "0+30x60"},
        "The window table pairs turns keys out: a scan, or a network larger than the table.",
        {"table": "pairs"},
        at="1h",
    ),
    Case(
        "ForebayTrainingFailed",
        {
            'forebay_retrain_candidates_total{outcome="failed"}': "0x30 1x40",
            'forebay_retrain_fitted_total{outcome="failed"}': "0x70",
        },
        {
            'forebay_retrain_candidates_total{outcome="refused"}': "0x30 1x40",
            'forebay_retrain_candidates_total{outcome="failed"}': "0x70",
            'forebay_retrain_fitted_total{outcome="failed"}': "0x70",
        },
        "Training or fitting a model failed 1 times in a day.",
        at="1h",
    ),
    Case(
        "ForebayCandidateRefused",
        {'forebay_retrain_candidates_total{outcome="refused"}': "0x30 1x40"},
        {'forebay_retrain_candidates_total{outcome="passed"}': "0x30 1x40"},
        "A trained candidate was no better than the model at work, and is not used.",
        at="1h",
    ),
    Case(
        "ForebayCalibrationWithdrawn",
        {'forebay_retrain_fitted_total{outcome="withdrawn"}': "0x30 1x40"},
        {'forebay_retrain_fitted_total{outcome="passed"}': "0x30 1x40"},
        "A sensor's fitted calibration no longer holds, and was withdrawn.",
        at="1h",
    ),
    Case(
        "ForebayPromotionUndecided",
        {"forebay_waits_for_promotion_total": "0+300x40"},
        {"forebay_waits_for_promotion_total": "0x25 0+300x2 600x20"},
        "A partition has waited for ten minutes for a model's promotion to be decided.",
    ),
)
OUTPUT_CASES = (
    Case(
        "ForebayOutputStuck",
        {'forebay_output_oldest_unsent_seconds{output="soc"}': "0x9 0+60x30"},
        {'forebay_output_oldest_unsent_seconds{output="soc"}': "300x40"},
        "Alerts for output soc have waited for 20m 0s: nobody there gets them.",
        {"output": "soc"},
    ),
    Case(
        "ForebayOutputParked",
        {'forebay_output_parked_total{output="soc"}': "0x30 2x40"},
        {'forebay_output_parked_total{output="soc"}': "2x70"},
        "The receiver of output soc refused 2 alerts for good in an hour.",
        {"output": "soc"},
        at="1h",
    ),
)
RESOURCE_CASES = (
    Case(
        "ForebayDiskLow",
        {DISK: "1073741824x40"},
        {DISK: "3e9x40"},
        "1GiB are free where archive writes its archive.",
        {"stage": "archive", "folder": "archive"},
    ),
    Case(
        "ForebayDiskFull",
        {DISK: "104857600x40"},
        {DISK: "1e9x40"},
        "100MiB are free where archive writes its archive: it is about to stop.",
        {"stage": "archive", "folder": "archive"},
    ),
    Case(
        "ForebayDiskFills",
        {DISK: "1e11-1e8x600"},
        {DISK: "1e11-1e7x600"},
        "As it fills now, the disk with the archive of archive is full within a day.",
        {"stage": "archive", "folder": "archive"},
        at="8h",
    ),
    Case(
        "ForebayCertificateExpires",
        {CERTIFICATE: "864000-60x40"},
        {CERTIFICATE: "2592000-60x40"},
        "The client certificate of score for Kafka expires in 9d 23h 30m 0s.",
        {"stage": "score", "certificate": "client"},
    ),
    Case(
        "ForebayCertificateExpired",
        {CERTIFICATE: "60-60x40"},
        {CERTIFICATE: "864000-60x40"},
        "The client certificate of score has expired, or does within two days.",
        {"stage": "score", "certificate": "client"},
    ),
)
CASES = (*STAGE_CASES, *FLOW_CASES, *DETECTION_CASES, *OUTPUT_CASES, *RESOURCE_CASES)
