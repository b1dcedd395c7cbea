-- The accounts that posted on a day, each once: 64 bits of the MD5 of its pseudonym, or without a salt
-- of its name, beside the server, which is a third of the size of the names. The same accounts give
-- the same bytes.
COPY (
    WITH named AS (
        SELECT
            server,
            username,
            acct,
            bool_or(bot) AS bot
        FROM read_parquet($toots_files, union_by_name := true, hive_partitioning := false)
        GROUP BY ALL
    )

    SELECT
        server,
        md5_number_lower(
            if($salt = '', username, nameless_user($salt, username, acct, server))
        ) AS account,
        bool_or(bot) AS bot
    FROM named
    GROUP BY ALL
    ORDER BY server, account
) TO $path (FORMAT parquet, COMPRESSION zstd);
