-- Add what this check saw and no earlier one did; each added offset is returned.
INSERT INTO need_not_land
SELECT DISTINCT
    _partition,
    _offset,
    $reason
FROM (
    SELECT
        unnest($partitions)::INTEGER AS _partition,
        unnest($offsets)::BIGINT AS _offset
)
ANTI JOIN need_not_land USING (_partition, _offset)
RETURNING _partition, _offset;
