-- Tokens that another program minted. Nothing in their text says in which bucket they lie, so an entry here does; all else is
-- with the tokens and grants. kind: 1 access token, 2 refresh token. An entry stays as long as the other program could offer
-- the token again.
CREATE TABLE imported_tokens (
    kind                INTEGER NOT NULL,
    hash                BLOB NOT NULL,
    bucket              INTEGER NOT NULL,
    remembered_until    INTEGER NOT NULL,
    is_claimed          INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (kind, hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX imported_tokens_by_end ON imported_tokens (remembered_until);
