"""Tests on several workers (`pytest -n`): which go together, and which come first.

Integration tests wait most of their time, so several groups of them run beside each other and
beside the unit tests. The tests of a group run on one worker, one after the other.
"""

from typing import TYPE_CHECKING, Any

import pytest
from xdist.scheduler.loadscope import LoadScopeScheduling  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from xdist.workermanage import WorkerController  # type: ignore[import-untyped]

ROOT = "mastodon_pipeline_tests/"
GROUPS = {
    "containers": ["containers/test_trial.py"],
    "lake on PostgreSQL": ["chaos/test_postgres.py"],
    "demo": ["test_demo.py"],
    "damaged stack": ["infra/test_stack.py", "landing/test_registry_away.py"],
    "chaos": ["chaos/test_chaos.py"],
    "maintenance": [
        *("maintenance/test_entry_points.py", "maintenance/test_lock.py"),
        *("maintenance/test_orphans.py", "maintenance/test_retention.py"),
        "maintenance/test_forgetting_a_person.py",
        "landing/test_spread.py",
    ],
    "Kafka lost": ["landing/test_kafka_lost.py"],
    "full disk": ["infra/test_full_disk.py"],
    # They share a topic, a bucket, and the numbers of their sources.
    "ledger": ["ledger/test_losses.py", "ledger/test_forgotten.py", "ledger/test_sensors.py"],
    "landing": [
        *("landing/test_landing.py", "landing/test_iceberg_readers.py"),
        *("landing/test_no_loss.py", "landing/test_sink_config.py"),
        *("landing/test_dead_letters.py", "landing/test_bucket_deleted.py"),
        *("landing/test_landed_index.py", "landing/test_idle_tasks.py"),
    ],
    "secure services": ["infra/test_secure_services.py"],
    "usage": ["usage/test_bucket.py", "usage/test_backfills.py", "usage/test_notebook.py"],
    "browser": ["dashboard/test_browser.py"],
    "live": ["usage/live/test_live_on_the_stack.py", "usage/live/test_live.py"],
    "PostgreSQL": ["infra/test_postgres.py"],
    "stale writers": ["usage/test_stale_writers.py"],
    "alerts": ["alerting/test_sensor.py"],
    "any day": ["landing/test_any_day.py"],
    "listener runs": ["listening/test_listener_runs.py"],
    "metrics": ["metrics/test_collecting.py"],
    "webserver": ["infra/test_webserver.py"],
    "run history": ["maintenance/test_run_history.py"],
    "migration": ["landing/test_migration.py"],
    "retirement": ["maintenance/test_retirement_at_any_time.py"],
    "TLS": ["test_tls.py"],
    "refreshing": ["usage/refreshing/test_sensor.py"],
    "stories": ["listening/following/test_stories.py"],
    "wheel": ["test_wheel.py"],
}
"""The modules that take minutes or share what takes long to make; the longest first.

Each other module is a group of its own, and comes later.
"""
GROUP_OF = {ROOT + module: group for group, modules in GROUPS.items() for module in modules}
RANKS = {group: rank for rank, group in enumerate(GROUPS)}


class Scheduler(LoadScopeScheduling):  # type: ignore[misc]
    """Gives each worker one group at a time, the longest first.

    A worker begins a test only once it has the next one. So that no long group has to wait behind
    another, a short one is what it gets in advance.
    """

    def __init__(self, config: pytest.Config, log: Any) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return GROUP_OF.get(module, module)

    def _assign_work_unit(self, node: "WorkerController") -> None:
        unfinished = (
            group for group, tests in self.assigned_work[node].items() if not all(tests.values())
        )
        choose = max if RANKS.keys() & unfinished else min
        group = choose(self.workqueue, key=lambda group: RANKS.get(group, len(RANKS)))
        self.workqueue.move_to_end(group, last=False)
        super()._assign_work_unit(node)
