-- When httpfs is loaded, it copies keys from the environment into settings that any query can read.
-- The connection has its secret, which is redacted, and needs no other keys.
SET s3_access_key_id = '';
SET s3_secret_access_key = '';
SET s3_session_token = '';
