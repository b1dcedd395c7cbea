-- Toots that mention the words of TERMS, by day.
SELECT
    strftime(day, '%Y-%m-%d') AS moment,
    term,
    toots
FROM term_mentions
WHERE day BETWEEN $first AND $last
ORDER BY day, term;
