-- By which algorithm access tokens for a resource are signed (JWT); NULL where they are opaque.
ALTER TABLE resources ADD COLUMN jwt_algorithm TEXT;

-- In the order in which they were added. sealed is the private key under the server key; longest_life is in seconds.
CREATE TABLE signing_keys (
    number          INTEGER PRIMARY KEY AUTOINCREMENT,
    key_id          TEXT NOT NULL UNIQUE,
    algorithm       TEXT NOT NULL,
    sealed          BLOB NOT NULL,
    created_at      INTEGER NOT NULL,
    active_from     INTEGER NOT NULL,
    longest_life    INTEGER NOT NULL
) STRICT;
