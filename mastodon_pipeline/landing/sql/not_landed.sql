-- Those of the given records that are in no landed file and in no receipt.
SELECT
    suspect._partition,
    suspect._offset
FROM (
    SELECT
        unnest($partitions)::INTEGER AS _partition,
        unnest($offsets)::BIGINT AS _offset
) AS suspect
ANTI JOIN (SELECT unnest(ranges, recursive := true) FROM landed_folder) AS landed
    ON
        landed._partition = suspect._partition
        AND suspect._offset BETWEEN landed.first_offset AND landed.last_offset;
