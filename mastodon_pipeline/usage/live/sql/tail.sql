-- The records of the topic that the sink has not landed yet.
CREATE OR REPLACE TEMP TABLE tail AS
SELECT * EXCLUDE (_partition, _offset, _ts)
FROM read_parquet($empty_record);
