-- What an authorization server keeps. Moments are whole seconds since 1970; digests are SHA-256, 32 bytes; identifiers of
-- grants and interactions are 16 bytes. Text that is compared or listed is compared byte for byte (collation "C").

-- The one clock by which this database judges expiry: something is good while clock() < expires_at.
CREATE FUNCTION authflow.clock() RETURNS bigint
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$ SELECT floor(extract(epoch FROM pg_catalog.now()))::bigint $$;

-- What there is one of.
CREATE TABLE authflow.instance (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    server_key bytea NOT NULL
);

-- Removed clients stay as a tombstone: their generation goes on when the identifier comes back.
CREATE TABLE authflow.clients (
    client_no integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    generation integer NOT NULL,
    created_at bigint NOT NULL,
    expires_at bigint,
    removed_at bigint,
    retired_until bigint,
    secret bytea,
    retired_secret bytea,
    client_id text COLLATE "C" NOT NULL UNIQUE,
    introspects text COLLATE "C",
    profile jsonb NOT NULL
);
CREATE INDEX clients_expiry ON authflow.clients (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX clients_introspects ON authflow.clients (introspects) WHERE introspects IS NOT NULL;

-- Removed resources stay, so that a token knows how its resource was spelled; one that comes back is a new row, and
-- nothing of the old one revives.
CREATE TABLE authflow.resources (
    resource_no integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    created_at bigint NOT NULL,
    removed_at bigint,
    equivalence_key text COLLATE "C" NOT NULL,
    resource text NOT NULL,
    name text NOT NULL,
    scopes jsonb NOT NULL
);
CREATE UNIQUE INDEX resources_registered ON authflow.resources (equivalence_key) WHERE removed_at IS NULL;

-- A subject without a row is of generation 0 and not disabled.
CREATE TABLE authflow.subjects (
    subject text COLLATE "C" PRIMARY KEY,
    generation integer NOT NULL,
    disabled boolean NOT NULL
);

CREATE TABLE authflow.users (
    user_id text COLLATE "C" PRIMARY KEY,
    username text COLLATE "C" NOT NULL UNIQUE,
    display_name text,
    password_hash text NOT NULL,
    is_admin boolean NOT NULL,
    created_at bigint NOT NULL,
    disabled_at bigint
);

CREATE TABLE authflow.sessions (
    authenticated_at bigint NOT NULL,
    last_seen_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    subject_generation integer NOT NULL,
    hash bytea PRIMARY KEY,
    user_id text COLLATE "C" NOT NULL
);
CREATE INDEX sessions_expiry ON authflow.sessions (expires_at);
CREATE INDEX sessions_user ON authflow.sessions (user_id);

CREATE TABLE authflow.interactions (
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    closed_at bigint,
    client_generation integer NOT NULL,
    id bytea PRIMARY KEY,
    browser bytea NOT NULL,
    client_id text COLLATE "C" NOT NULL,
    request jsonb NOT NULL
);
CREATE INDEX interactions_expiry ON authflow.interactions (expires_at);
CREATE INDEX interactions_browser ON authflow.interactions (browser);

-- purge_at is when the cleaner may take the row: the end of the grant, or the end of a code that nobody redeemed.
-- resource_nos are what the resources were registered as on approval, in their order; NULL where one was not.
CREATE TABLE authflow.grants (
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    code_expires_at bigint NOT NULL,
    redeemed_at bigint,
    revoked_at bigint,
    purge_at bigint NOT NULL,
    client_no integer NOT NULL,
    client_generation integer NOT NULL,
    subject_generation integer NOT NULL,
    offline_access boolean NOT NULL,
    id bytea PRIMARY KEY,
    code_hash bytea NOT NULL UNIQUE,
    code_challenge bytea NOT NULL,
    subject text COLLATE "C" NOT NULL,
    username text,
    redirect_uri text,
    resource_nos integer[] NOT NULL,
    resources jsonb NOT NULL
);
CREATE INDEX grants_subject ON authflow.grants (subject);
CREATE INDEX grants_purge ON authflow.grants (purge_at);

-- Tokens lie in partitions by bucket (an hour for access tokens, a day for refresh tokens; a partition holds a few buckets).
-- What has passed is dropped whole, so nothing here is indexed by expiry, client or grant: that would cost every insert and
-- every clean-up. The default partitions catch what no partition was made for; a row in one of them raises an alarm.

-- The subject is left out where it is the grant's, or the client's own; the resource where it is spelled as registered;
-- resource_no where it had no registration.
CREATE TABLE authflow.access_tokens (
    issued_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    bucket integer NOT NULL,
    client_no integer NOT NULL,
    client_generation integer NOT NULL,
    resource_no integer,
    hash bytea NOT NULL,
    grant_id bytea,
    scope text NOT NULL,
    subject text COLLATE "C",
    resource text,
    PRIMARY KEY (hash, bucket)
) PARTITION BY RANGE (bucket);
CREATE TABLE authflow.access_tokens_default PARTITION OF authflow.access_tokens DEFAULT;

-- A spent token stays, with its successor and the sealed answer, until its bucket, the last day of its grant, has passed.
CREATE TABLE authflow.refresh_tokens (
    issued_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    spent_at bigint,
    bucket integer NOT NULL,
    hash bytea NOT NULL,
    grant_id bytea NOT NULL,
    successor bytea,
    sealed bytea,
    PRIMARY KEY (hash, bucket)
) PARTITION BY RANGE (bucket);
CREATE TABLE authflow.refresh_tokens_default PARTITION OF authflow.refresh_tokens DEFAULT;
