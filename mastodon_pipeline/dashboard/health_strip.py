"""The strip above the figures: can I believe it?"""

from collections.abc import Sequence
from datetime import datetime

import streamlit as st

from mastodon_pipeline.dashboard.counts import Row
from mastodon_pipeline.dashboard.health import Health, newest_post


def show_health(
    health: Health | None, newest_hour: datetime | None, coverage: Sequence[Row], now: datetime
) -> None:
    """Show the strip. `newest_hour`: of the tables; `coverage`: of each server's newest week."""
    with st.container(border=True):
        st.markdown("**Can I believe it?**")
        if health is None:
            st.caption("Listeners and checks are being read: they are here in a few seconds.")
            return
        columns = st.columns(5)
        _listeners(columns[0], health)
        _gaps(columns[1], health)
        _freshness(columns[2], health, newest_hour, now)
        _checks(columns[3], health)
        _coverage(columns[4], coverage)
        if health.problem:
            st.text(health.problem)
        lines = health.lines()
        if lines:
            with st.expander(f"What is not as it should be ({len(lines)})"):
                # Plain text: reasons may hold words of a server's.
                st.text("\n".join(lines))
                st.markdown("`mastodon-pipeline doctor` says how to fix what is unhealthy.")
        if health.servers:
            with st.expander("What the servers are asked for"):
                st.text("\n".join(health.politeness()))
                st.caption(
                    "Requests and kilobytes of the last hour, by all listeners here, and how much"
                    " of the limit that a server states itself they have used."
                )


def _listeners(column: "st.delta_generator.DeltaGenerator", health: Health) -> None:
    servers = len(health.servers)
    column.metric(
        "Servers listened to",
        f"{health.listening} of {servers}" if servers else "none",
        help=health.states or "No listener has reported.",
    )


def _gaps(column: "st.delta_generator.DeltaGenerator", health: Health) -> None:
    unfilled = sum(server.unfilled_gaps for server in health.servers)
    being_filled = sum(server.open_gaps for server in health.servers)
    column.metric(
        "Gaps",
        f"{unfilled + being_filled}" if health.servers else "unknown",
        help=f"Times that were not listened to: {being_filled} are being read from timelines,"
        f" {unfilled} could not be.",
    )


def _freshness(
    column: "st.delta_generator.DeltaGenerator",
    health: Health,
    newest_hour: datetime | None,
    now: datetime,
) -> None:
    posted = newest_post(health.servers)
    column.metric(
        "Newest toot's age",
        "unknown" if posted is None else _age(now.timestamp() - posted),
        help="Posted, by the listeners' last reports, at most 30 s ago."
        + (f" The tables have the hour {newest_hour:%Y-%m-%d %H:00} UTC." if newest_hour else ""),
    )


def _checks(column: "st.delta_generator.DeltaGenerator", health: Health) -> None:
    value = f"{len(health.red)} red" if health.red else "all green"
    column.metric(
        "Checks",
        value if health.checks else "none yet",
        help=f"Of {health.checks} asset checks in Dagster. Red is an error that no later result"
        " has overtaken.",
    )


def _coverage(column: "st.delta_generator.DeltaGenerator", coverage: Sequence[Row]) -> None:
    hours = [row["hours_heard"] for row in coverage if row["hours_heard"] is not None]
    column.metric(
        "Hours heard",
        f"{100 * sum(hours) / (144 * len(hours)):.0f} %" if hours else "unknown",
        help="Of the last six days that servers report of themselves, on average of the servers:"
        " hours with at least one counted toot. A quiet server has silent hours, too.",
    )


def _age(seconds: float) -> str:
    seconds = max(0.0, seconds)
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"
