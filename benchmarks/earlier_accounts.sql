-- The accounts that posted on an earlier day: a third of $among, others each day.
COPY (
    SELECT
        format('server{}.example', floor(25000 ** ((hash(n, 'home') % 9973) / 9973))::BIGINT)
            AS server,
        md5_number_lower(n::VARCHAR) AS account,
        n % 23 = 7 AS bot
    FROM range($among) AS numbers (n)
    WHERE hash(n, $ago) % 3 = 0
    ORDER BY server, account
) TO $path (FORMAT parquet, COMPRESSION zstd);
