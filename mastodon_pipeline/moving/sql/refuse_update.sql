-- From now on, whoever still has the old address is refused.
CREATE TRIGGER IF NOT EXISTS moved_refuses_update BEFORE UPDATE ON iceberg_tables
BEGIN
  SELECT raise(ABORT, 'this catalog was moved to PostgreSQL: use the address in LAKE_CATALOG_URI');
END
