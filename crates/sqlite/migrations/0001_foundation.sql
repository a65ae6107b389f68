-- Digests are BLOBs, moments are whole seconds since 1970, lists and documents are JSON.
--
-- A token is live while its row is there, its grant is not revoked, and the generations of client and subject are still
-- those it was made under: revocation raises a counter, and no index serves to find tokens by client or by expiry.

CREATE TABLE settings (
    name    TEXT NOT NULL PRIMARY KEY,
    value   BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- Numbers are never used twice (AUTOINCREMENT): what was issued to a purged client cannot become another one's.
-- Removed clients stay, so that their generation outlives them.
CREATE TABLE clients (
    number          INTEGER PRIMARY KEY AUTOINCREMENT,
    id              TEXT NOT NULL UNIQUE,
    generation      INTEGER NOT NULL,
    is_removed      INTEGER NOT NULL DEFAULT 0,
    secret          BLOB,
    retired_secret  BLOB,
    retired_until   INTEGER,
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER,
    introspects     TEXT,
    profile         TEXT NOT NULL
) STRICT;
CREATE INDEX clients_by_expiry ON clients (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX clients_by_introspects ON clients (introspects) WHERE introspects IS NOT NULL;

-- The key is the text on which the equivalence of resources rests; uri is the registered spelling. A resource that comes
-- back has a new number: what was issued and approved under the one before does not revive.
CREATE TABLE resources (
    number      INTEGER PRIMARY KEY AUTOINCREMENT,
    key         TEXT NOT NULL UNIQUE,
    uri         TEXT NOT NULL,
    name        TEXT NOT NULL,
    scopes      TEXT NOT NULL,
    created_at  INTEGER NOT NULL
) STRICT;

CREATE TABLE interactions (
    id                  BLOB NOT NULL PRIMARY KEY,
    browser             BLOB NOT NULL,
    client_id           TEXT NOT NULL,
    client_generation   INTEGER NOT NULL,
    request             TEXT NOT NULL,
    created_at          INTEGER NOT NULL,
    expires_at          INTEGER NOT NULL,
    closed_at           INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX interactions_by_browser ON interactions (browser);
CREATE INDEX interactions_by_expiry ON interactions (expires_at);

-- Of subjects without a row nothing was ever revoked: their generation is 0.
CREATE TABLE subjects (
    subject     TEXT NOT NULL PRIMARY KEY,
    generation  INTEGER NOT NULL,
    disabled_at INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE users (
    id              TEXT NOT NULL PRIMARY KEY,
    username        TEXT NOT NULL UNIQUE,
    display_name    TEXT,
    password_hash   TEXT NOT NULL,
    is_admin        INTEGER NOT NULL,
    created_at      INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE sessions (
    hash                BLOB NOT NULL PRIMARY KEY,
    user_id             TEXT NOT NULL REFERENCES users (id),
    subject_generation  INTEGER NOT NULL,
    authenticated_at    INTEGER NOT NULL,
    last_seen_at        INTEGER NOT NULL,
    expires_at          INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

-- registrations are the numbers of those resources that were registered on approval, by their keys. purge_at is the end of
-- the code as long as nobody redeemed it, and the end of the grant ever after.
CREATE TABLE grants (
    id                  BLOB NOT NULL PRIMARY KEY,
    client              INTEGER NOT NULL,
    client_generation   INTEGER NOT NULL,
    subject             TEXT NOT NULL,
    subject_generation  INTEGER NOT NULL,
    username            TEXT,
    resources           TEXT NOT NULL,
    registrations       TEXT NOT NULL,
    offline_access      INTEGER NOT NULL,
    created_at          INTEGER NOT NULL,
    expires_at          INTEGER NOT NULL,
    code_hash           BLOB NOT NULL UNIQUE,
    code_expires_at     INTEGER NOT NULL,
    redirect_uri        TEXT,
    code_challenge      BLOB NOT NULL,
    redeemed_at         INTEGER,
    revoked_at          INTEGER,
    purge_at            INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX grants_by_subject ON grants (subject, created_at);
CREATE INDEX grants_by_purge ON grants (purge_at);

-- subject is absent where it is the grant's, or the client itself; resource_number where the resource had no registration.
CREATE TABLE access_tokens (
    bucket              INTEGER NOT NULL,
    hash                BLOB NOT NULL,
    grant_id            BLOB,
    client              INTEGER NOT NULL,
    client_generation   INTEGER NOT NULL,
    subject             TEXT,
    resource            TEXT NOT NULL,
    resource_number     INTEGER,
    scope               TEXT NOT NULL,
    issued_at           INTEGER NOT NULL,
    expires_at          INTEGER NOT NULL,
    PRIMARY KEY (bucket, hash)
) STRICT, WITHOUT ROWID;

CREATE TABLE refresh_tokens (
    bucket      INTEGER NOT NULL,
    hash        BLOB NOT NULL,
    grant_id    BLOB NOT NULL,
    issued_at   INTEGER NOT NULL,
    expires_at  INTEGER NOT NULL,
    spent_at    INTEGER,
    successor   BLOB,
    sealed      BLOB,
    PRIMARY KEY (bucket, hash)
) STRICT, WITHOUT ROWID;
