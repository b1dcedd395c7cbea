"""Checks that a sensor makes in its tick, reported without a run."""

import dagster as dg


def check_event(result: dg.AssetCheckResult, check: dg.AssetCheckKey) -> dg.AssetCheckEvaluation:
    """Return the event of a check's result."""
    return dg.AssetCheckEvaluation(
        asset_key=check.asset_key,
        check_name=check.name,
        passed=result.passed,
        metadata=result.metadata,
        severity=result.severity,
        description=result.description,
    )
