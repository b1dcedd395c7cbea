-- One UTC day's toots by primary language. The row '' is named unknown; a code that has no English
-- name stands for itself.
COPY (
    SELECT
        $day::DATE AS day,
        language_primary,
        if(
            language_primary = '',
            'unknown',
            coalesce(map($language_codes, $language_names)[language_primary], language_primary)
        ) AS language_name,
        count(*) AS toots,
        count(DISTINCT username || '@' || server) AS users
    FROM read_parquet($toots_files, union_by_name := true, hive_partitioning := false)
    GROUP BY language_primary
    ORDER BY toots DESC, language_primary
) TO $path (FORMAT parquet, COMPRESSION zstd, KV_METADATA {built_from: $built_from});
