-- An hour's records that a table lacks, to which those are added that they may have to do with.
CREATE OR REPLACE TEMP TABLE related_record AS
SELECT
    NULL::VARCHAR AS path,
    NULL::BIGINT AS position,
    coalesce(uri, '') AS uri,
    base_url,
    coalesce(status_id, '') AS status_id
FROM read_parquet($files, union_by_name := true, hive_partitioning := false)
WHERE created_at >= $hour_start AND created_at < $hour_end;
