-- Forget these files.
DELETE FROM landed_file WHERE list_contains($paths, path);
