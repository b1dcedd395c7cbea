-- httpfs takes keys from the environment into settings that anybody may read, as it is loaded. The
-- connection has its secret, which is redacted, and needs no others.
SET s3_access_key_id = '';
SET s3_secret_access_key = '';
SET s3_session_token = '';
