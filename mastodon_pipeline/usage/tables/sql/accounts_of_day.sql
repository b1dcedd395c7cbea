-- The accounts that posted on a day, each once: 64 bits of the name's MD5 beside the server, which
-- is a third of the size of the names. It hides no account from somebody who knows its name, no more
-- than `toots` does. The same accounts give the same bytes.
COPY (
    SELECT
        server,
        md5_number_lower(username) AS account,
        bool_or(bot) AS bot
    FROM read_parquet($toots_files, union_by_name := true, hive_partitioning := false)
    GROUP BY ALL
    ORDER BY server, account
) TO $path (FORMAT parquet, COMPRESSION zstd);
