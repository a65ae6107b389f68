-- Tokens that another program minted. Nothing in their text says in which bucket they lie, so an entry here does; all else is
-- with the tokens and grants. kind: 1 access token, 2 refresh token. An entry stays as long as the other program could offer
-- the token again.
CREATE TABLE authflow.imported_tokens (
    remembered_until bigint NOT NULL,
    bucket integer NOT NULL,
    kind smallint NOT NULL,
    is_claimed boolean NOT NULL DEFAULT false,
    hash bytea NOT NULL,
    PRIMARY KEY (hash, kind)
);
CREATE INDEX imported_tokens_end ON authflow.imported_tokens (remembered_until);
