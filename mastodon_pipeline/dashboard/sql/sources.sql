-- Toots by moment and home server, in three grains: of whole days, of whole hours, one by one.
CREATE VIEW toots_by_day AS
SELECT
    day::TIMESTAMP AT TIME ZONE 'UTC' AS moment,
    server,
    toots
FROM active_users
WHERE server <> 'ALL';

CREATE VIEW toots_by_hour AS
SELECT
    hour AS moment,
    server,
    toots
FROM toots_per_server_per_hour;

CREATE VIEW toots_one_by_one AS
SELECT
    created_at AS moment,
    server,
    1 AS toots
FROM selected_toots;

-- By day where it is settled, by hour since yesterday.
CREATE VIEW toots_by_day_and_hour AS
FROM toots_by_day
WHERE moment < getvariable('settled_until')
UNION ALL
FROM toots_by_hour
WHERE moment >= getvariable('settled_until');
