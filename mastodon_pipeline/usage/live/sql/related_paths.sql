-- The landed files that hold related records.
SELECT DISTINCT path FROM related_record WHERE path IS NOT NULL;
