from __future__ import annotations

from pathlib import Path

from ai_engine.job import JobOptions, JobStatus
from ai_engine.job_queue.database import Database
from ai_engine.monitoring.counters import Counters, Figure
from ai_engine.monitoring.job_metrics import BUCKETS_S, JobMetrics, of_job
from ai_engine.stage import Stage
from ai_engine.stage_result import JobFailure, JobResult, UsedOptions

OUT_OF_MEMORY = JobFailure("gpu_out_of_memory", "", "", Stage.DENOISE, True)


def test_each_stage_falls_into_the_first_bucket_that_it_fits() -> None:
    amounts = of_job(JobStatus.SUCCEEDED, JobResult(timings_s={"denoise": 10.0, "decode": 99999.0}))

    assert amounts[Figure.of("stage_seconds_bucket", stage="denoise", le="10.0")] == 1
    assert amounts[Figure.of("stage_seconds_bucket", stage="decode", le="+Inf")] == 1
    assert amounts[Figure.of("stage_seconds_sum", stage="denoise")] == 10.0
    assert len([figure for figure in amounts if figure.name == "stage_seconds_bucket"]) == 2
    assert sorted(BUCKETS_S) == list(BUCKETS_S)


def test_every_time_the_device_ran_short_counts_also_where_the_job_got_through() -> None:
    lowered = JobResult(options=UsedOptions(JobOptions(1), degraded=("num_chunks", "guidance")))

    assert of_job(JobStatus.SUCCEEDED, lowered)[Figure.of("out_of_memory")] == 2
    assert of_job(JobStatus.FAILED, JobResult(failure=OUT_OF_MEMORY))[Figure.of("out_of_memory")] == 1
    assert Figure.of("out_of_memory") not in of_job(JobStatus.SUCCEEDED, JobResult())


def test_a_database_that_is_away_costs_a_number_and_no_job(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/jobs.sqlite")
    job_metrics = JobMetrics(Counters(database))
    database.close()
    (tmp_path / "jobs.sqlite").unlink()

    job_metrics.count_delivery("accepted")
    job_metrics.count_taken_over(2)

    assert job_metrics.count_job("job", JobStatus.SUCCEEDED, JobResult()) is False
