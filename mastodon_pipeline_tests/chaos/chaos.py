"""A chaos run from beginning to end."""

import shutil
import tempfile
import time
from collections import Counter
from itertools import chain

from mastodon_pipeline.errors import PipelineError
from mastodon_pipeline_tests.chaos.balance import (
    Balance,
    Freshness,
    LedgerVerdict,
    compare,
    ledger_verdict,
    read_tables,
)
from mastodon_pipeline_tests.chaos.faults import FAULTS
from mastodon_pipeline_tests.chaos.file_faults import strange_files_are_named
from mastodon_pipeline_tests.chaos.losses import trace_losses
from mastodon_pipeline_tests.chaos.pipeline import Pipeline, running_pipeline
from mastodon_pipeline_tests.chaos.schedule import in_order, schedule
from mastodon_pipeline_tests.chaos.sink_faults import poison_is_reported
from mastodon_pipeline_tests.chaos.watch import HEADING, carry_out
from mastodon_pipeline_tests.support.secret_search import (
    command_lines,
    shown_in,
    stack_secrets,
    stored_contents,
)

TOOTS_PER_SECOND = 10.0
SETTLE_SECONDS = 900.0
"""How long after the last fault the tables may take to equal the truth."""


def run_chaos(seed: int, seconds: float, only: str = "") -> bool:
    """Damage a running pipeline for so long; return whether it lost nothing, and hid nothing.

    Prints the seed, a table of the faults, and a line with the result. `only`: faults whose names
    contain this.
    """
    faults = {name: fault for name, fault in FAULTS.items() if only in name}
    durations = {name: fault.seconds for name, fault in faults.items()}
    # Once Kafka was wiped, what had landed is in the bucket alone: who deletes that has lost it.
    appointments = in_order(schedule(seed, seconds, durations), "bucket deleted", "Kafka wiped")
    print(f"chaos: seed {seed}, {seconds:.0f} s, {len(appointments)} faults", flush=True)
    with running_pipeline(TOOTS_PER_SECOND) as pipeline:
        if missing := {"kafka", "minio", "dagster"} - pipeline.small_disks:
            print(f"  no disk gets full: {', '.join(sorted(missing))} are on the common one")
        with Freshness(pipeline) as freshness:
            outcomes = carry_out(pipeline, faults, appointments)
            balance = settled_balance(pipeline)
        verdict = settled_ledger(pipeline)
        shown = shown_secrets(pipeline)
        if balance.lost:
            print("  lost: " + trace_losses(pipeline, balance.lost), flush=True)
        never = Counter(o.appointment.fault for o in outcomes if o.seconds is None)
        if never or verdict.missing or not balance.even:
            logs = tempfile.mkdtemp(prefix=f"chaos-logs-{seed}-")
            shutil.copytree(pipeline.stack.supervisor.logs, logs, dirs_exist_ok=True)
            print(f"  the programs' logs are in {logs}", flush=True)
    if verdict.missing:
        print(verdict.losses)
    for place, names in shown.items():
        print(f"{place} shows the secrets {', '.join(sorted(names))}")
    print(f"\nseed {seed}\n{HEADING}")
    for outcome in outcomes:
        print(outcome)
    for hour, (published, counted) in sorted(balance.wrong_hours.items()):
        print(f"{hour[0]} {hour[1]}: {published} published, {counted} counted")
    print(
        f"CHAOS published={balance.published} in_toots={balance.in_toots} "
        f"lost={len(balance.lost)} duplicated={balance.duplicated} unnoticed={balance.unnoticed} "
        f"stale_seconds_max={freshness.stale_seconds_max:.0f} {verdict}",
        flush=True,
    )
    return balance.even and not never and not shown and not verdict.missing


def shown_secrets(pipeline: Pipeline) -> dict[str, set[str]]:
    """Return where the stack's secrets and the servers' tokens show, and the names of those."""
    data = pipeline.stack.data
    variables = pipeline.simulator.environment
    tokens = {name: value for name, value in variables.items() if "_TOKEN_" in name}
    secrets = stack_secrets(data) | tokens
    places = chain([("command lines", command_lines(data).encode())], stored_contents(data))
    return {place: names for place, content in places if (names := shown_in(content, secrets))}


def settled_balance(pipeline: Pipeline) -> Balance:
    """Stop publishing, and compare once the tables equal the truth, or have had the time to."""
    truth = pipeline.stop_publishing()
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        if (tables := read_tables(pipeline)) is not None:
            unnoticed = 0 if poison_is_reported(pipeline) else pipeline.poison_records
            unnoticed += 0 if strange_files_are_named(pipeline) else len(pipeline.strange_files)
            balance = compare(truth, tables, unnoticed)
            if balance.even or time.monotonic() > deadline:
                return balance
        elif time.monotonic() > deadline + 60:
            raise TimeoutError("the tables cannot be read")
        time.sleep(2)


def settled_ledger(pipeline: Pipeline) -> LedgerVerdict:
    """Check the ledger until nothing is missing, or it has had the time."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        try:
            verdict = ledger_verdict(pipeline)
            if not verdict.missing or time.monotonic() > deadline:
                return verdict
        except PipelineError:
            if time.monotonic() > deadline:
                raise
        time.sleep(10)
