-- Load what checks saw before 2026-11-26.
INSERT INTO need_not_land
SELECT
    $topic_id,
    _partition,
    _offset,
    reason
FROM read_parquet($path);
