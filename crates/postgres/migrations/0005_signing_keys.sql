-- By which algorithm access tokens for a resource are signed (JWT); NULL where they are opaque.
ALTER TABLE authflow.resources ADD COLUMN jwt_algorithm text;

-- In the order in which they were added. Of one algorithm each has one predecessor ('' for the first), and no two the same:
-- of many nodes that add a key behind the same one, one does. sealed is the private key under the server key; longest_life
-- is in seconds.
CREATE TABLE authflow.signing_keys (
    key_no integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    created_at bigint NOT NULL,
    active_from bigint NOT NULL,
    longest_life bigint NOT NULL,
    sealed bytea NOT NULL,
    algorithm text NOT NULL,
    key_id text COLLATE "C" NOT NULL UNIQUE,
    predecessor text COLLATE "C" NOT NULL,
    UNIQUE (algorithm, predecessor)
);
