-- Open some files: their rows by post hour, and their offsets as ranges without gaps (within a
-- range, offsets grow as fast as row numbers do). A file without rows has a row, too, and so has
-- one that cannot be read: only $read is opened, and the empty record supplies what a file lacks.
--
-- A post time that no calendar of ours has a partition for, such as the year 1, is no hour.
--
-- The sink gives every record Kafka's coordinates, and the schema gives it an event, an observing
-- server and a post time. A file in which a row has not all of these is not the sink's: it belongs
-- to no hour, and its error says so. Receipts of removed files hold coordinates alone.
--
-- A post time is what a server claims. `vouched` counts the records whose time somebody vouches for:
-- a listener of ours, which read them within a month of it, or the person who brought them from
-- elsewhere. The tables begin with these, see `usage.first_day`.
INSERT INTO landed_file BY NAME
WITH listed AS (
    SELECT
        unnest($paths) AS path,
        unnest($etags) AS etag,
        unnest($sizes)::BIGINT AS size,
        unnest($modified)::TIMESTAMPTZ AS modified
),

landed AS MATERIALIZED (
    SELECT
        filename AS path,
        NOT starts_with($group, 'removed=')
        AND (
            event IS NULL
            OR base_url IS NULL
            OR created_at IS NULL
            OR coalesce(kafka_partition, _partition) IS NULL
            OR coalesce(kafka_offset, _offset) IS NULL
            OR coalesce(kafka_timestamp, _ts) IS NULL
        ) AS is_foreign,
        CASE
            WHEN typeof(created_at) = 'VARCHAR' THEN error($foreign || ': created_at is a text')
            WHEN
                created_at >= '1970-01-01 00:00:00+00'::TIMESTAMPTZ
                AND created_at < '9999-12-31 23:00:00+00'::TIMESTAMPTZ
                THEN date_trunc('hour', created_at::TIMESTAMPTZ)
        END AS hour,
        coalesce(kafka_partition, _partition) AS kafka_partition,
        coalesce(kafka_offset, _offset) AS kafka_offset,
        coalesce(kafka_timestamp, _ts) AS kafka_timestamp,
        list_contains($brought, source) OR created_at >= ingested_at - INTERVAL 1 MONTH AS vouched
    FROM read_parquet(
        $read, union_by_name := true, hive_partitioning := false, filename := true
    )
),

foreign_file AS (
    SELECT
        path,
        format(
            $foreign || ': {} of its {} rows lack coordinates, event, server or post time',
            count(*) FILTER (is_foreign),
            count(*)
        ) AS error
    FROM landed
    GROUP BY path
    HAVING bool_or(is_foreign)
),

by_hour AS (
    SELECT
        path,
        if(foreign_file.error IS NULL, hour, NULL) AS hour,
        count(*) AS rows,
        count(*) FILTER (vouched) AS vouched
    FROM landed
    LEFT JOIN foreign_file USING (path)
    GROUP BY ALL
),

-- Identity is more than an offset: a Kafka that started over gives offsets a second time.
numbered AS (
    SELECT
        path,
        kafka_partition,
        kafka_offset,
        kafka_timestamp,
        kafka_offset - row_number() OVER (
            PARTITION BY path, kafka_partition
            ORDER BY kafka_offset
        ) AS island
    FROM (
        SELECT
            path,
            kafka_partition,
            kafka_offset,
            max(kafka_timestamp) AS kafka_timestamp
        FROM landed
        ANTI JOIN foreign_file USING (path)
        WHERE kafka_partition IS NOT NULL AND kafka_offset IS NOT NULL
        GROUP BY ALL
    )
),

stretch AS (
    SELECT
        path,
        kafka_partition::INTEGER AS kafka_partition,
        min(kafka_offset)::BIGINT AS first_offset,
        max(kafka_offset)::BIGINT AS last_offset,
        min(kafka_timestamp)::TIMESTAMPTZ AS first_timestamp,
        max(kafka_timestamp)::TIMESTAMPTZ AS last_timestamp
    FROM numbered
    GROUP BY path, numbered.kafka_partition, island
),

ranges_by_file AS (
    SELECT
        path,
        list(
            {
                kafka_partition: kafka_partition,
                first_offset: first_offset,
                last_offset: last_offset,
                first_timestamp: first_timestamp,
                last_timestamp: last_timestamp
            } ORDER BY kafka_partition, first_offset
        ) AS ranges
    FROM stretch
    GROUP BY path
)

SELECT
    $group AS group_name,
    listed.*,
    $now::TIMESTAMPTZ AS indexed_at,
    coalesce($error, foreign_file.error) AS error,
    by_hour.hour AS hour,
    coalesce(by_hour.rows, 0) AS rows,
    coalesce(by_hour.vouched, 0) AS vouched,
    if(
        row_number() OVER (PARTITION BY listed.path ORDER BY by_hour.hour) = 1,
        coalesce(ranges_by_file.ranges, []),
        []
    ) AS ranges
FROM listed
LEFT JOIN by_hour USING (path)
LEFT JOIN foreign_file USING (path)
LEFT JOIN ranges_by_file USING (path);
