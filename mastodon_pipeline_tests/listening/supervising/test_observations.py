"""What a listener run shows of its servers in Dagster, how often, and how much of it."""

from itertools import pairwise

import dagster as dg

from mastodon_pipeline.listening.supervising.observations import (
    ObservationPace,
    observation_metadata,
)
from mastodon_pipeline.listening.supervising.reports import ServerReport
from mastodon_pipeline.listening.supervising.server_table import (
    MAX_GAPS,
    MAX_REASON_CHARACTERS,
    MAX_SERVERS,
)
from mastodon_pipeline_tests.listening.supervising.sample_reports import (
    GAP,
    NOW,
    sample_report,
    sample_rhythm,
)

DAY_SECONDS = 86_400


def observation_seconds(lost_gaps: dict[int, int], until: int) -> list[int]:
    """Return the seconds at which observations are due; `lost_gaps`: their number from a second."""
    pace = ObservationPace(0.0)
    lost, seconds = 0, []
    for second in range(0, until, 5):
        lost = lost_gaps.get(second, lost)
        rhythm = sample_rhythm(now=NOW + second)
        servers = [sample_report(gaps_lost=lost, rhythm=rhythm)]
        if pace.due(servers, NOW + second, float(second)):
            seconds.append(second)
    return seconds


def test_observations_become_rare_while_nothing_changes() -> None:
    """In the end every 15 minutes: about a hundred a day."""
    seconds = observation_seconds({}, DAY_SECONDS)
    assert seconds[:6] == [30, 90, 210, 450, 930, 1830]
    assert len(seconds) <= 100


def test_unfilled_gap_is_observed_at_once_but_no_two_within_two_minutes() -> None:
    """However many changes there are, a day has 720 observations at most."""
    assert 2000 in observation_seconds({2000: 1}, 2400)
    always = {second: second for second in range(0, DAY_SECONDS, 5)}
    seconds = observation_seconds(always, DAY_SECONDS)
    assert len(seconds) <= 721
    assert min(b - a for a, b in pairwise(seconds[1:])) >= 120


def table(metadata: object) -> list[dg.TableRecord]:
    assert isinstance(metadata, dg.TableMetadataValue)
    return list(metadata.records)


def rows_of(*servers: ServerReport) -> list[dg.TableRecord]:
    return table(observation_metadata("group-1", servers, NOW)["servers"])


def test_server_is_a_row_with_its_figures() -> None:
    """State and reason, rate, lag, last toot, reconnects, gaps: all that the UI has to show."""
    [row] = rows_of(
        sample_report(
            state="polling",
            reason="no token",
            gaps_lost=1,
            unfilled_gaps=(GAP,),
            not_public=3,
        )
    )
    assert row.data == {
        "server": "a.example local",
        "state": "polling",
        "problem": "",
        "reason": "no token",
        "toots_per_minute": 1.0,
        "lag_seconds": 0.4,
        "clock_seconds": "",
        "last_toot": "2027-01-15 07:59:55",
        "toots": 10,
        "reconnects": 0,
        "lost_by_streams": 0,
        "open_gaps": 0,
        "gaps_filled": 0,
        "unfilled_gaps": 1,
        "last_unfilled_gap": "2027-01-15 05:13:20 to 2027-01-15 06:13:20: 410 Gone",
        "dead_letters": 0,
        "not_public": 3,
        "excluded": 0,
        "requests_per_hour": 0.0,
        "kb_per_hour": 0.0,
        "rate_budget_used": "",
    }


def test_row_of_a_silent_server_names_the_problem() -> None:
    """In the words of the check."""
    [row] = rows_of(sample_report(rhythm=sample_rhythm(silent_seconds=3000)))
    assert "silent for 50 min" in str(row.data["problem"])


def test_long_reason_is_cut() -> None:
    """A server decides how long its reason phrase is."""
    [row] = rows_of(sample_report(state="parked", reason="x" * 5000))
    assert row.data["reason"] == "x" * MAX_REASON_CHARACTERS + "…"


def test_worst_of_a_thousand_servers_are_shown() -> None:
    """The silent, the parked and the unreachable first; and how many are left out."""
    fine = [sample_report(f"s{number}.example") for number in range(997)]
    bad = [
        sample_report("silent.example", rhythm=sample_rhythm(silent_seconds=9000)),
        sample_report("parked.example", state="parked", reason="410 Gone"),
        sample_report("waiting.example", state="waiting", reason="refused"),
    ]
    metadata = observation_metadata("group-1", [*fine, *bad], NOW)
    rows = table(metadata["servers"])
    assert len(rows) == MAX_SERVERS
    assert {str(row.data["server"]) for row in rows[:3]} == {
        "silent.example local",
        "parked.example local",
        "waiting.example local",
    }
    assert metadata["servers_left_out"] == 950
    assert metadata["states"] == "998 streaming, 1 parked, 1 waiting"


def test_size_of_an_observation_does_not_grow_with_the_group() -> None:
    """Gaps too are only the newest twenty: in all about 20 KB, and 40 KB at the worst."""
    servers = [
        sample_report(f"server{number}.example", unfilled_gaps=(GAP,) * 5) for number in range(1000)
    ]
    metadata = observation_metadata("group-1", servers, NOW)
    assert len(table(metadata["unfilled_gaps"])) == MAX_GAPS
    observation = dg.AssetObservation("mastodon_topic", metadata=metadata)
    assert len(dg.serialize_value(observation)) < 40_000
