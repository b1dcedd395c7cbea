-- The article's table of languages: English names by code.
CREATE OR REPLACE TABLE language AS
SELECT
    unnest($codes::VARCHAR[]) AS lang_iso,
    unnest($names::VARCHAR[]) AS language_name;
