-- What identifies the records in landed files that an hour's table was built from.
CREATE OR REPLACE TEMP TABLE known_record (
    hour TIMESTAMPTZ,
    path VARCHAR,
    position BIGINT,
    uri VARCHAR,
    base_url VARCHAR,
    status_id VARCHAR
);
