-- How long one UTC day's toots are, by primary language: the five figures of a box plot, in
-- characters. The quartiles are interpolated between neighbouring lengths.
COPY (
    SELECT
        $day::DATE AS day,
        language_primary,
        if(
            language_primary = '',
            'unknown',
            coalesce(map($language_codes, $language_names)[language_primary], language_primary)
        ) AS language_name,
        min(characters) AS min,
        quantile_cont(characters, 0.25) AS q1,
        quantile_cont(characters, 0.5) AS median,
        quantile_cont(characters, 0.75) AS q3,
        max(characters) AS max,
        count(*) AS toots
    FROM read_parquet($toots_files, union_by_name := true, hive_partitioning := false)
    GROUP BY language_primary
    ORDER BY toots DESC, language_primary
) TO $path (FORMAT parquet, COMPRESSION zstd, KV_METADATA {built_from: $built_from});
