-- What the landed files hold: a row for each file and post hour.
CREATE OR REPLACE TEMP TABLE landed_file (
    group_name VARCHAR,
    path VARCHAR,
    etag VARCHAR,
    modified TIMESTAMPTZ,
    size BIGINT,
    indexed_at TIMESTAMPTZ,
    error VARCHAR,
    hour TIMESTAMPTZ,
    rows BIGINT,
    vouched BIGINT,
    ranges STRUCT(
        kafka_partition INTEGER,
        first_offset BIGINT,
        last_offset BIGINT,
        first_timestamp TIMESTAMPTZ,
        last_timestamp TIMESTAMPTZ
    )[]
);
