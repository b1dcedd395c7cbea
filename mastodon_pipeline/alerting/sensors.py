"""`alert_sensor`: sends a message when a problem begins, and when it is over."""

import time
from collections.abc import Callable, Iterable, Sequence

import dagster as dg
import msgspec

from mastodon_pipeline.alerting.delivery import Batch, Delivery, deliver
from mastodon_pipeline.alerting.observing import observe
from mastodon_pipeline.alerting.outbox import Target, target_id
from mastodon_pipeline.alerting.problems import plain_text
from mastodon_pipeline.alerting.rules import (
    Message,
    Observation,
    Tracked,
    decide,
    open_problems,
    still_open,
)
from mastodon_pipeline.errors import SettingsError
from mastodon_pipeline.event_log import reuse_instance
from mastodon_pipeline.listening.supervising.runs import load_values, save_value
from mastodon_pipeline.settings import Settings, load_settings

MAX_TITLES = 5
_KEY = "alert_sensor/memory"


class Memory(msgspec.Struct):
    """What the sensor remembers from tick to tick, in Dagster's key-value store.

    Not in its cursor, which is lost if a tick ends with an error.
    """

    tracked: list[Tracked] = []
    targets: list[Target] = []


@dg.sensor(
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Sends a message to each URL of ALERT_URLS when a problem begins and when it is over: a "
        "listener that keeps failing, a server parked or silent, the sink standing still, a red "
        "check, a disk nearly full, a wrong clock, runs that keep failing. It reads Dagster's "
        "storage and the disks only. A target that is away is tried again. Without ALERT_URLS it "
        "does nothing."
    ),
)
def alert_sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
    """Observe, decide, send; each tick says what is wrong and what was sent."""
    try:
        settings = load_settings()
    except SettingsError as error:
        return dg.SkipReason(str(error))
    if not settings.alert_targets():
        return dg.SkipReason("ALERT_URLS is not set: problems are shown in Dagster only")
    reuse_instance(context)
    repository = context.repository_def
    checks = repository.asset_graph.asset_check_keys if repository else ()
    return dg.SkipReason(alert(context.instance, settings, checks))


def alert(
    instance: dg.DagsterInstance,
    settings: Settings,
    checks: Iterable[dg.AssetCheckKey],
    now: float | None = None,
    send: Callable[[Sequence[Batch]], list[Delivery]] = deliver,
) -> str:
    """Take one step; return what is wrong, what was sent and what waits, in one line.

    `checks`: the asset checks that count. `now`: seconds since 1970, UTC; else the clock's time.
    """
    now = time.time() if now is None else now
    before = load_memory(instance)
    saved = msgspec.json.encode(before).decode()
    observation = observe(instance, settings, checks, now)
    tracked, messages = decide(before.tracked, observation, now)
    urls = {target_id(url): url for url in settings.alert_targets()}
    targets = _targets(before, urls, tracked, messages)
    # Saved first: if this process dies while it sends, the messages still wait.
    saved = _save(instance, Memory(tracked, targets), saved)
    due = {target.id: target.due(now) for target in targets}
    recipients = [target for target in targets if due[target.id]]
    deliveries = send([Batch(urls[target.id], due[target.id]) for target in recipients])
    for target, delivery in zip(recipients, deliveries, strict=True):
        target.record(due[target.id], delivery.accepted, now)
    _save(instance, Memory(tracked, targets), saved)
    return "; ".join(
        [
            _described(tracked),
            *_described_deliveries(targets, recipients, deliveries),
            *_described_unknown(observation),
        ]
    )


def load_memory(instance: dg.DagsterInstance) -> Memory:
    """Return what earlier ticks remembered; nothing if another version wrote it."""
    [value] = load_values(instance, _KEY)
    try:
        return msgspec.json.decode(value or "{}", type=Memory)
    except msgspec.MsgspecError:
        return Memory()  # at worst, the problems of now are announced again


def _save(instance: dg.DagsterInstance, memory: Memory, saved: str) -> str:
    """Save what has changed since it was `saved`; return it as it is saved now."""
    value = msgspec.json.encode(memory).decode()
    if value != saved:
        save_value(instance, _KEY, value)
    return value


def _targets(
    before: Memory, ids: Iterable[str], tracked: Sequence[Tracked], messages: Sequence[Message]
) -> list[Target]:
    """Return the configured targets, with what waits for each."""
    former = {target.id: target for target in before.targets}
    targets = []
    for each in ids:
        target = former.get(each)
        if target is None:
            # Added, or corrected: it gets what is open already.
            target = Target(each)
            target.add(still_open(tracked))
        else:
            target.add(messages)
        targets.append(target)
    return targets


def _described(tracked: Sequence[Tracked]) -> str:
    titles = [t.title for t in open_problems(tracked)]
    if not titles:
        return "no problem is open"
    more = f" and {len(titles) - MAX_TITLES} more" if len(titles) > MAX_TITLES else ""
    return f"{len(titles)} open: {', '.join(titles[:MAX_TITLES])}{more}"


def _described_deliveries(
    targets: Sequence[Target], recipients: Sequence[Target], deliveries: Sequence[Delivery]
) -> list[str]:
    by_target = dict(zip((target.id for target in recipients), deliveries, strict=True))
    lines = []
    for number, target in enumerate(targets, 1):
        delivery = by_target.get(target.id)
        parts = []
        if delivery is not None and delivery.accepted:
            parts.append(f"accepted {delivery.accepted}")
        if delivery is not None and delivery.error:
            parts.append(plain_text(delivery.error))
        if target.pending:
            parts.append(f"{len(target.pending)} waiting, sent again")
        if parts:
            service = f" ({delivery.service})" if delivery is not None and delivery.service else ""
            lines.append(f"target {number}{service}: {', '.join(parts)}")
    return lines


def _described_unknown(observation: Observation) -> list[str]:
    unknown = list(observation.unknown.items())[:MAX_TITLES]
    return [f"not known: {prefix.rstrip('/')} ({reason})" for prefix, reason in unknown]
