-- The toots of a span.
SELECT coalesce(sum(toots), 0)::BIGINT AS toots
FROM {source}
WHERE
    moment >= $since
    AND moment < $until
    AND (len($servers) = 0 OR list_contains($servers, server));
