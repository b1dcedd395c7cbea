-- A table of counts, as of this moment.
CREATE OR REPLACE VIEW live.{table} AS
SELECT {columns}
FROM (
    SELECT * EXCLUDE (filename)
    FROM read_parquet(
        live_files('{table}', 'table', txid_current()::BIGINT),
        hive_partitioning := true,
        hive_types := {{'day': DATE}},
        filename := true
    )
    WHERE NOT list_contains(live_files('{table}', 'behind', txid_current()::BIGINT), filename)
    UNION ALL BY NAME
    SELECT {local_columns}
    FROM read_parquet(
        live_files('{table}', 'local', txid_current()::BIGINT), hive_partitioning := false
    )
);
