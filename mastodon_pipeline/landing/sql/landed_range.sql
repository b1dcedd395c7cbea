-- The offsets of a topic that have landed, or had before maintenance removed their files, as
-- ranges. Records of an earlier topic of the same name have the same offsets, and are older.
CREATE OR REPLACE TEMP TABLE landed_range AS
SELECT DISTINCT *
FROM (SELECT unnest(ranges, recursive := true) FROM landed_file)
WHERE
    (last_timestamp >= $began::TIMESTAMPTZ OR $began IS NULL)
    AND (first_timestamp < $ended::TIMESTAMPTZ OR $ended IS NULL)
    OR last_timestamp IS NULL;
