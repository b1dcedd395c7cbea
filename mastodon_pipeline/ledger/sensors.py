"""`ledger_sensor`: balances the ledger every five minutes, within its tick.

A run would take 6 s of CPU, most of it to start.
"""

import time

import dagster as dg

from mastodon_pipeline.check_events import check_event
from mastodon_pipeline.event_log import reuse_instance
from mastodon_pipeline.lake.resource import LAKE
from mastodon_pipeline.ledger.assets import CHECK, check_result, ledger_check
from mastodon_pipeline.listening.supervising.runs import load_values, save_value

INTERVAL_SECONDS = 300
SINK_SECONDS = 20.0
"""How long a tick waits for the sink, which commits every ten seconds. Ticks have a minute."""
LONGEST_SECONDS = 40.0
"""Of a check in a tick, with that wait. Where it takes longer, runs make the checks."""
RUNS_FOR_SECONDS = 3600.0
"""Then a tick tries again."""
_KEY = "ledger_sensor/runs_until"


@dg.sensor(
    job=ledger_check,
    minimum_interval_seconds=INTERVAL_SECONDS,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Balances what was received with what landed and what is in toots every five minutes, and"
        " reports the check every_toot_is_accounted_for. If that fails or takes long, it requests"
        " runs of ledger_check instead for an hour."
    ),
)
def ledger_sensor(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """Check in this tick, or request a run."""
    reuse_instance(context)
    instance, now = context.instance, time.time()
    [runs_until] = load_values(instance, _KEY)
    if now < float(runs_until or 0):
        return dg.SensorResult(run_requests=[dg.RunRequest()])
    # Taken back once the check was quick: Dagster gives up a tick after a minute, and says nothing.
    save_value(instance, _KEY, f"{now + RUNS_FOR_SECONDS:.0f}")
    began = time.monotonic()
    try:
        with LAKE.open() as opened:
            result = check_result(instance, opened, SINK_SECONDS)
    except Exception as error:  # whatever it is, a run shows it, and its failures are an alert
        context.log.warning(f"a run makes the check, since it failed here: {error}")
        return dg.SensorResult(run_requests=[dg.RunRequest()])
    if time.monotonic() - began <= LONGEST_SECONDS:
        save_value(instance, _KEY, "0")
    event = check_event(result, CHECK)
    return dg.SensorResult(asset_events=[event], skip_reason=result.description)
