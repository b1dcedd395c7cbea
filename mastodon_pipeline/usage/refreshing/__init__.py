"""What keeps the tables current: freshness, sensor, jobs, schedules."""
