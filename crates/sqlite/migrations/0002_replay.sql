-- What was used once, as its digest, for as long as it could be accepted.
CREATE TABLE replays (
    digest      BLOB NOT NULL PRIMARY KEY,
    expires_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX replays_by_expiry ON replays (expires_at);

-- The latest expiry of what was forgotten; no row as long as nothing was. A clock that is set back may take such a thing
-- for good again.
CREATE TABLE replays_forgotten (
    only_one        INTEGER NOT NULL PRIMARY KEY CHECK (only_one = 1),
    until           INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
