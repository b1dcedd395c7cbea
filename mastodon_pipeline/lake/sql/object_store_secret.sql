-- The keys for s3:// paths. They are bound as parameters, so that no error, log or profile of
-- this statement can show them; duckdb_secrets() shows them as redacted.
CREATE OR REPLACE SECRET object_store (
    TYPE s3,
    KEY_ID $key_id,
    SECRET $secret,
    SESSION_TOKEN $session_token,
    ENDPOINT $endpoint,
    USE_SSL $use_ssl,
    URL_STYLE 'path',
    REGION $region
);
