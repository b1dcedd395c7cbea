-- Offsets that were seen to hold nothing that has to land.
CREATE OR REPLACE TEMP TABLE need_not_land (_partition INTEGER, _offset BIGINT, reason VARCHAR);
