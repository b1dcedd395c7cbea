-- What the landed files hold, a row for each hour folder.
CREATE OR REPLACE TEMP TABLE landed_folder (
    folder VARCHAR,
    version VARCHAR,
    rows BIGINT,
    ranges STRUCT(_partition INTEGER, first_offset BIGINT, last_offset BIGINT)[]
);
