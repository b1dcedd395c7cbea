-- The offsets that have landed, or had before maintenance removed their files, as ranges.
CREATE OR REPLACE TEMP TABLE landed_range AS
SELECT DISTINCT *
FROM (SELECT unnest(ranges, recursive := true) FROM landed_file);
