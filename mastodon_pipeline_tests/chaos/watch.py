"""Carries out the schedule, and notes for each fault what recovered it and after how long."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg

from mastodon_pipeline.landing.jobs import kafka_connect_config
from mastodon_pipeline.listening.supervising.runs import JOB_NAME
from mastodon_pipeline_tests.chaos.fault import Fault
from mastodon_pipeline_tests.chaos.pipeline import Pipeline
from mastodon_pipeline_tests.chaos.schedule import Appointment

RECOVERY_SECONDS = 900.0
"""A fault that is not over this long after its end counts as never recovered. Long, since other
faults go on meanwhile, and the machine may be busy with other work."""
_LOOK_EVERY_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Outcome:
    """A line of the table: a fault, what recovered it, and after how many seconds."""

    appointment: Appointment
    recovered_by: str
    seconds: float | None
    """From the fault's end (its beginning, if it has no duration) until all it damaged works
    again; None if it never did."""

    def __str__(self) -> str:
        seconds = "never" if self.seconds is None else f"{self.seconds:.1f}"
        times = f"{self.appointment.begins:.0f}-{self.appointment.ends:.0f}"
        return f"{times:<9} {self.appointment.fault:<27} {seconds:>7}  {self.recovered_by}"


HEADING = f"{'seconds':<9} {'fault':<27} {'after s':>7}  recovered by"


def carry_out(
    pipeline: Pipeline, faults: dict[str, Fault], appointments: Sequence[Appointment]
) -> list[Outcome]:
    """Do to the pipeline what is scheduled; return once everything has recovered, or never will."""
    began = time.monotonic()
    outcomes = [Outcome(appointment, "did not happen", None) for appointment in appointments]

    def keep(number: int, appointment: Appointment) -> None:
        try:
            outcome = _keep(pipeline, faults[appointment.fault], appointment, began)
        except Exception as error:
            reason = f"the fault itself failed: {type(error).__name__}: {error}"
            outcome = Outcome(appointment, reason, None)
        outcomes[number] = outcome
        print(f"  {time.monotonic() - began:5.0f} s  {outcome}", flush=True)

    threads = [
        threading.Thread(
            target=keep, args=(number, appointment), name=appointment.fault, daemon=True
        )
        for number, appointment in enumerate(appointments)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def _keep(pipeline: Pipeline, fault: Fault, appointment: Appointment, began: float) -> Outcome:
    _sleep_until(began + appointment.begins)
    fault.await_leave(pipeline)
    since = time.time()
    ended = time.monotonic()
    fault.begin(pipeline)
    if fault.seconds[1] > 0:
        while time.monotonic() < began + appointment.ends:
            time.sleep(1)
            fault.hold(pipeline)
        ended = time.monotonic()
        fault.end(pipeline)
    while time.monotonic() < ended + RECOVERY_SECONDS:
        if _recovered(pipeline, fault):
            seconds = time.monotonic() - ended
            return Outcome(appointment, recovered_by(pipeline, fault, since), seconds)
        time.sleep(_LOOK_EVERY_SECONDS)
    return Outcome(appointment, recovered_by(pipeline, fault, since), None)


def _recovered(pipeline: Pipeline, fault: Fault) -> bool:
    try:
        return fault.recovered(pipeline)
    except Exception:  # Dagster's storage and others may be what is damaged
        return False


def recovered_by(pipeline: Pipeline, fault: Fault, since: float) -> str:
    """Say who has started or repaired what the fault touches since then (seconds, epoch)."""
    parts = []
    for who, counts in (
        ("watchdog", pipeline.killed_by_watchdog(since)),
        ("supervisord", pipeline.spawned(since)),
    ):
        if touched := [f"{n} x{count}" for n, count in counts.items() if n in fault.touches]:
            parts.append(f"{who}: {', '.join(touched)}")
    for name, supervisor, job in (
        ("listener", "listener_supervisor", JOB_NAME),
        ("sink", "connector_supervisor", kafka_connect_config.name),
    ):
        if name in fault.touches and (runs := _runs(pipeline, job, since)):
            parts.append(f"{supervisor}: {runs} run{'s'[: runs > 1]}")
    return "; ".join(parts) or "by itself"


def _runs(pipeline: Pipeline, job: str, since: float) -> int:
    try:
        records = pipeline.instance.get_run_records(dg.RunsFilter(job_name=job), limit=50)
    except Exception:  # its disk may be full
        return 0
    return sum(record.create_timestamp.timestamp() >= since for record in records)


def _sleep_until(moment: float) -> None:
    time.sleep(max(0.0, moment - time.monotonic()))
