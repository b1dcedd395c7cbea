"""The check `every_toot_is_accounted_for`; `sensors` has it made every five minutes."""

from datetime import UTC, datetime
from typing import Any

import dagster as dg

from mastodon_pipeline.failures import readable_failures
from mastodon_pipeline.lake.lake import Lake
from mastodon_pipeline.lake.resource import LakeResource
from mastodon_pipeline.ledger.checking import SINK_SECONDS, EarlierCheck, Ledger, check_ledger
from mastodon_pipeline.ledger.state import Loss, format_time
from mastodon_pipeline.settings import load_settings

CHECK = dg.AssetCheckKey(dg.AssetKey("toots"), "every_toot_is_accounted_for")
_LISTED = 5
_SHOWN = 50
_EARLIER = 10
"""Executions of the check to look through for its last result."""


@dg.asset_check(
    asset=CHECK.asset_key,
    name=CHECK.name,
    description=(
        "Everything that the listeners received is acknowledged by Kafka or left out for a reason,"
        " has landed, and is in toots, by source and hour. A loss stays until its records are there"
        " or a person accepts it."
    ),
)
def every_toot_is_accounted_for(
    context: dg.AssetCheckExecutionContext, lake: LakeResource
) -> dg.AssetCheckResult:
    """Fail if anything is missing without a person having accepted it."""
    with readable_failures(), lake.open() as opened:
        return check_result(context.instance, opened)


ledger_check = dg.define_asset_job(
    "ledger_check",
    selection=dg.AssetSelection.checks(every_toot_is_accounted_for),
    executor_def=dg.in_process_executor,
    description="Balances what was received with what landed and what is in toots.",
)


def check_result(
    instance: dg.DagsterInstance, lake: Lake, sink_seconds: float = SINK_SECONDS
) -> dg.AssetCheckResult:
    """Balance the ledger; raises as `check_ledger` does."""
    ledger = check_ledger(
        load_settings(), lake, sink_seconds=sink_seconds, earlier=earlier_check(instance)
    )
    return dg.AssetCheckResult(
        asset_key=CHECK.asset_key,
        check_name=CHECK.name,
        passed=ledger.open == 0,
        severity=dg.AssetCheckSeverity.ERROR,
        description=describe(ledger),
        metadata=_metadata(ledger),
    )


def earlier_check(instance: dg.DagsterInstance) -> EarlierCheck | None:
    """Return what the check before this one has reported; None if there was none."""
    records = instance.event_log_storage.get_asset_check_execution_history(CHECK, limit=_EARLIER)
    for record in records:
        event = record.event.dagster_event if record.event else None
        if event is None or event.event_type_value != "ASSET_CHECK_EVALUATION":
            continue  # it is running, or has failed
        metadata = event.asset_check_evaluation_data.metadata
        if (since := metadata.get("compared_from")) is None:
            return None  # of an earlier version
        known = (metadata["acknowledged"].value, metadata["forgotten"].value)
        seconds = datetime.fromisoformat(str(since.value)).timestamp()
        return EarlierCheck(sum(int(str(records)) for records in known), int(seconds * 1000))
    return None


def describe(ledger: Ledger) -> str:
    """Return one line, and one for each of the newest losses."""
    balance = ledger.balance
    accepted = f"; {ledger.accepted} missing records are accepted" if ledger.accepted else ""
    if ledger.open == 0:
        return (
            f"{balance.received} received = {balance.acknowledged} acknowledged and"
            f" {balance.left_out} left out for a reason and"
            f" {balance.waiting_for_kafka + balance.read_again} on their way; {balance.landed}"
            f" landed; {ledger.hours} hours of toots compared{accepted}"
        )
    lines = [f"{ledger.open} records are missing{accepted}"]
    return "\n".join([*lines, *map(describe_loss, ledger.losses[:_LISTED])])


def describe_loss(loss: Loss) -> str:
    """Return a loss in one line: how many, which source, of when, why, noticed when."""
    source = loss.source.partition("://")[2] or "(no server)"
    of = "posted" if loss.stage == "toots" else "received"
    return (
        f"{loss.records} of {source}, {of} from {format_time(loss.hour)} UTC on: {loss.reason}"
        f" (noticed {format_time(loss.since)}; {loss.name})"
    )


def _metadata(ledger: Ledger) -> dict[str, Any]:
    balance = ledger.balance
    rows = [
        dg.TableRecord(
            {
                "loss": loss.name,
                "records": loss.records,
                "reason": loss.reason,
                "noticed": f"{format_time(loss.since)} UTC",
            }
        )
        for loss in ledger.losses[:_SHOWN]
    ]
    schema = dg.TableSchema(
        [
            dg.TableColumn("loss", "string", "Stage, source, hour (UTC) of receiving or posting"),
            dg.TableColumn("records", "int"),
            dg.TableColumn("reason", "string"),
            dg.TableColumn("noticed", "string"),
        ]
    )
    return {
        "missing": ledger.open,
        "forgotten": ledger.forgotten,
        "compared_from": datetime.fromtimestamp(ledger.since / 1000, UTC).isoformat(),
        "accepted": ledger.accepted,
        "received": balance.received,
        "left_out": balance.left_out,
        "acknowledged": balance.acknowledged,
        "waiting_for_kafka": balance.waiting_for_kafka,
        "read_again": balance.read_again,
        "in_flight": balance.in_flight,
        "landed": balance.landed,
        "replayed": balance.replayed,
        "landed_after_the_last_tally": balance.after_last_tally,
        "hours_compared": ledger.hours,
        "sink_up_to_date": ledger.judged,
        "losses": dg.MetadataValue.table(rows, schema),
    }
