-- For each partition of the topic: how many offsets below the sink's watermark were landed, and
-- which are neither landed nor in the dead-letter topic. Gaps in the log itself (transaction
-- markers, tombstones) are among the missing ones: only Kafka can tell them.
WITH topic_partition AS (
    SELECT
        unnest($partitions)::INTEGER AS _partition,
        unnest($lows)::BIGINT AS low,
        unnest($committed)::BIGINT AS committed
),

expected AS (
    SELECT _partition, unnest(range(low, committed)) AS _offset
    FROM topic_partition
),

dead_lettered AS (
    SELECT
        unnest($dead_partitions)::INTEGER AS _partition,
        unnest($dead_offsets)::BIGINT AS _offset
),

missing AS (
    SELECT _partition, _offset
    FROM expected
    ANTI JOIN landed_offset USING (_partition, _offset)
    ANTI JOIN dead_lettered USING (_partition, _offset)
),

missing_by_partition AS (
    SELECT
        _partition,
        count(*) AS missing,
        min(_offset, $examples) AS first_missing
    FROM missing
    GROUP BY _partition
),

landed_by_partition AS (
    SELECT _partition, count(*) AS landed
    FROM expected
    SEMI JOIN landed_offset USING (_partition, _offset)
    GROUP BY _partition
)

SELECT
    _partition,
    coalesce(landed, 0) AS landed,
    coalesce(missing, 0) AS missing,
    coalesce(first_missing, []) AS first_missing
FROM topic_partition
LEFT JOIN landed_by_partition USING (_partition)
LEFT JOIN missing_by_partition USING (_partition)
ORDER BY _partition;
