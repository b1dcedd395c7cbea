-- The languages of the last days, the most used first.
SELECT language_primary AS code
FROM language_usage
WHERE day >= $first
GROUP BY language_primary
ORDER BY sum(toots) DESC, code;
