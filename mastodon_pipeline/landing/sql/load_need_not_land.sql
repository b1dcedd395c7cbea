-- Load what earlier checks saw.
INSERT INTO need_not_land
SELECT
    _partition,
    _offset,
    reason
FROM read_parquet($path);
