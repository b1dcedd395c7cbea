-- Toots that stand in these files more than once: none should.
SELECT
    uri,
    count(*) AS copies,
    list_sort(list(DISTINCT date_trunc('hour', created_at))) AS hours
FROM read_parquet($toots_files, union_by_name := true, hive_partitioning := false)
GROUP BY uri
HAVING count(*) > 1
ORDER BY copies DESC, uri;
