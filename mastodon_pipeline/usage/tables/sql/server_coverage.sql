-- What was counted of each server beside what it reported of itself on one UTC day, by the weeks
-- of its report (six days each). A server without figures is one row, with the reason.
COPY (
    WITH report AS (
        SELECT unnest($reports::STRUCT(
            base_url VARCHAR, server VARCHAR, first_day DATE, reported BIGINT, reason VARCHAR
        )[], recursive := true)
    ),

    counted AS (
        SELECT unnest($counted::STRUCT(
            server VARCHAR, day DATE, toots BIGINT, hours INTEGER
        )[], recursive := true)
    ),

    compared AS (
        SELECT
            report.*,
            coalesce(sum(counted.toots), 0)::BIGINT AS toots,
            coalesce(sum(counted.hours), 0)::INTEGER AS hours_heard
        FROM report
        LEFT JOIN counted
            ON
                counted.server = report.server
                AND counted.day BETWEEN report.first_day AND report.first_day + $last_day::INTEGER
        GROUP BY ALL
    )

    SELECT
        $day::DATE AS day,
        server,
        base_url,
        first_day,
        first_day + $last_day::INTEGER AS last_day,
        reported,
        if(first_day IS NULL, NULL, toots) AS toots,
        if(reported > 0, toots / reported, NULL) AS share,
        if(first_day IS NULL, NULL, hours_heard) AS hours_heard,
        reason
    FROM compared
    ORDER BY server, base_url, first_day DESC
) TO $path (FORMAT parquet, COMPRESSION zstd);
