-- The Kafka coordinates that were found in the landed files, each once.
CREATE OR REPLACE TEMP TABLE landed_offset (
    _partition INTEGER,
    _offset BIGINT
);
