-- A Parquet file without rows that has every column of the record. Read beside the landed files,
-- it supplies the columns that files from before a schema change lack, and the columns of an hour
-- in which nothing landed.
COPY (
    SELECT
        unnest(from_json('{}', $columns)), -- the schema's fields
        0::INTEGER AS kafka_partition, -- the sink's columns: where Kafka keeps the record, and when
        0::BIGINT AS kafka_offset, -- it took it
        to_timestamp(0) AS kafka_timestamp,
        0::INTEGER AS _partition, -- their names in lakes from before 2026-11-26
        0::BIGINT AS _offset,
        to_timestamp(0) AS _ts
    LIMIT 0
) TO $path (FORMAT parquet);
