-- The ledger's memory, compressed.
SELECT content FROM read_blob($path);
