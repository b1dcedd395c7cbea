"""The schedule of faults."""

from itertools import pairwise

from mastodon_pipeline_tests.chaos.faults import FAULTS
from mastodon_pipeline_tests.chaos.schedule import in_order, schedule

DURATIONS = {name: fault.seconds for name, fault in FAULTS.items()}


def test_same_seed_gives_the_same_faults() -> None:
    assert schedule(7, 600, DURATIONS) == schedule(7, 600, DURATIONS)
    assert schedule(7, 600, DURATIONS) != schedule(8, 600, DURATIONS)


def test_every_fault_happens_in_ten_minutes_and_faults_overlap() -> None:
    for seed in range(20):
        appointments = schedule(seed, 600, DURATIONS)
        missing = DURATIONS.keys() - {appointment.fault for appointment in appointments}
        assert len(missing) <= len(DURATIONS) // 5, (seed, missing)
        assert [a.begins for a in appointments] == sorted(a.begins for a in appointments)
        assert any(first.ends > second.begins for first, second in pairwise(appointments))
        assert all(0 <= a.begins <= a.ends <= 600 for a in appointments)


def test_two_minutes_have_a_dozen_faults_or_more() -> None:
    for seed in range(20):
        assert len(schedule(seed, 120, DURATIONS)) >= 12


def test_bucket_is_never_deleted_after_kafka_was_wiped() -> None:
    """The times stay; what is scheduled otherwise stays, too."""
    for seed in range(20):
        before = schedule(seed, 1200, DURATIONS)
        after = in_order(before, "bucket deleted", "Kafka wiped")
        assert [a.begins for a in after] == [a.begins for a in before]
        assert sorted(a.fault for a in after) == sorted(a.fault for a in before)
        times = {
            name: [a.begins for a in after if a.fault == name]
            for name in ("bucket deleted", "Kafka wiped")
        }
        assert max(times["bucket deleted"], default=0) < min(times["Kafka wiped"], default=1200)
