-- The two tables of a token storage, in a file of their own. Digests are SHA-256, 32 bytes; moments are seconds since 1970;
-- scopes are a JSON list of text, so that blanks in them survive; user_id keeps its type, a number or a text.

CREATE TABLE access_tokens (
    hash        BLOB PRIMARY KEY,
    client_id   TEXT NOT NULL,
    scopes      TEXT NOT NULL,
    resource    TEXT,
    expires_at  INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    user_id     ANY
) STRICT, WITHOUT ROWID;
CREATE INDEX access_tokens_by_expiry ON access_tokens (expires_at);
CREATE INDEX access_tokens_by_client ON access_tokens (client_id);

CREATE TABLE refresh_tokens (
    hash        BLOB PRIMARY KEY,
    client_id   TEXT NOT NULL,
    scopes      TEXT NOT NULL,
    resource    TEXT,
    expires_at  INTEGER NOT NULL,
    created_at  INTEGER NOT NULL,
    user_id     ANY
) STRICT, WITHOUT ROWID;
CREATE INDEX refresh_tokens_by_expiry ON refresh_tokens (expires_at);
CREATE INDEX refresh_tokens_by_client ON refresh_tokens (client_id);
