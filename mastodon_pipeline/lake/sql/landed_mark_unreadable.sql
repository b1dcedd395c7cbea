-- A file turned out to be damaged: it holds no hour's records.
UPDATE landed_file SET error = $reason, hour = NULL WHERE path = $path;
