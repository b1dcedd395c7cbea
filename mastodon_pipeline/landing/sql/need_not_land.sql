-- Offsets that were seen to hold nothing that has to land, by the id of their topic.
CREATE OR REPLACE TEMP TABLE need_not_land (
    topic_id VARCHAR,
    kafka_partition INTEGER,
    kafka_offset BIGINT,
    reason VARCHAR
);
