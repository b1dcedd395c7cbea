-- Toots that are in these files more than once: there should be none.
--
-- A toot whose hash occurs once cannot be. Of ten million, only the URIs of the rest are compared.
WITH toot AS (
    SELECT
        uri,
        hash(uri) AS uri_hash,
        created_at
    FROM read_parquet($toots_files, union_by_name := true, hive_partitioning := false)
),

suspect AS (
    SELECT uri_hash
    FROM toot
    GROUP BY uri_hash
    HAVING count(*) > 1
)

SELECT
    uri,
    count(*) AS copies,
    list_sort(list(DISTINCT date_trunc('hour', created_at))) AS hours
FROM toot
SEMI JOIN suspect USING (uri_hash)
GROUP BY uri
HAVING count(*) > 1
ORDER BY copies DESC, uri;
