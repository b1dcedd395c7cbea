-- The files of a group.
SELECT DISTINCT path FROM landed_file WHERE group_name = $group;
