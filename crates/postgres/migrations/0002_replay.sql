-- What was used once, as its digest, for as long as it could be accepted.
CREATE TABLE authflow.replays (
    expires_at bigint NOT NULL,
    digest bytea PRIMARY KEY
);
CREATE INDEX replays_expiry ON authflow.replays (expires_at);

-- The latest expiry of what was forgotten; no row as long as nothing was. A clock that is set back may take such a thing
-- for good again.
CREATE TABLE authflow.replays_forgotten (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    until bigint NOT NULL
);
