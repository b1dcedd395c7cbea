-- For each partition of the topic: how many offsets below the sink's watermark have landed, and
-- which are neither landed nor in the dead-letter topic. Gaps in the log itself (transaction
-- markers, tombstones) are among the missing offsets: only Kafka can tell them apart.
WITH topic_partition AS (
    SELECT
        unnest($partitions)::INTEGER AS kafka_partition,
        unnest($lows)::BIGINT AS low,
        unnest($committed)::BIGINT AS committed
),

dead_lettered AS (
    SELECT
        unnest($dead_partitions)::INTEGER AS kafka_partition,
        unnest($dead_offsets)::BIGINT AS kafka_offset
),

-- The landed ranges, and an empty range at either end of the checked offsets.
stretch AS (
    SELECT
        landed.kafka_partition,
        greatest(landed.first_offset, low) AS first_offset,
        least(landed.last_offset, committed - 1) AS last_offset
    FROM landed_range AS landed
    JOIN topic_partition USING (kafka_partition)
    WHERE
        landed.last_offset >= low
        AND landed.first_offset < committed
    UNION ALL
    SELECT kafka_partition, low, low - 1 FROM topic_partition
    UNION ALL
    SELECT kafka_partition, committed, committed - 1 FROM topic_partition
    WHERE committed > low
),

-- Between a range and the furthest end of all ranges that begin before it.
gap AS (
    SELECT
        kafka_partition,
        max(last_offset) OVER before + 1 AS first_offset,
        first_offset - 1 AS last_offset
    FROM stretch
    WINDOW before AS (
        PARTITION BY kafka_partition
        ORDER BY first_offset, last_offset
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    )
),

gap_by_partition AS (
    SELECT
        kafka_partition,
        sum(last_offset - first_offset + 1) AS not_landed
    FROM gap
    WHERE last_offset >= first_offset
    GROUP BY kafka_partition
),

dead_by_partition AS (
    SELECT
        dead_lettered.kafka_partition,
        count(*) AS dead
    FROM dead_lettered
    JOIN gap
        ON
            gap.kafka_partition = dead_lettered.kafka_partition
            AND dead_lettered.kafka_offset BETWEEN gap.first_offset AND gap.last_offset
    GROUP BY dead_lettered.kafka_partition
),

-- Enough offsets of each gap for the examples, even if all but the last ones are dead letters.
candidate AS (
    SELECT
        kafka_partition,
        unnest(
            range(
                first_offset,
                least(last_offset + 1, first_offset + $examples + len($dead_offsets))
            )
        ) AS kafka_offset
    FROM gap
    WHERE last_offset >= first_offset
),

first_by_partition AS (
    SELECT
        kafka_partition,
        min(kafka_offset, $examples) AS first_missing
    FROM candidate
    ANTI JOIN dead_lettered USING (kafka_partition, kafka_offset)
    GROUP BY kafka_partition
)

SELECT
    kafka_partition,
    (greatest(committed - low, 0) - coalesce(not_landed, 0))::BIGINT AS landed,
    (coalesce(not_landed, 0) - coalesce(dead, 0))::BIGINT AS missing,
    coalesce(first_missing, []) AS first_missing
FROM topic_partition
LEFT JOIN gap_by_partition USING (kafka_partition)
LEFT JOIN dead_by_partition USING (kafka_partition)
LEFT JOIN first_by_partition USING (kafka_partition)
ORDER BY kafka_partition;
