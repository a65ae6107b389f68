-- Devices that wait for a person (RFC 8628). user_code is keyed with the server's key; wait is how many seconds lie between
-- two polls; claimed_by is the interaction in which a person decides, once somebody has typed the user code.
CREATE TABLE authflow.device_codes (
    created_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    last_poll_at bigint,
    wait integer NOT NULL,
    client_generation integer NOT NULL,
    hash bytea PRIMARY KEY,
    user_code bytea NOT NULL UNIQUE,
    claimed_by bytea,
    status text COLLATE "C" NOT NULL,
    client_id text COLLATE "C" NOT NULL,
    request jsonb NOT NULL
);
CREATE INDEX device_codes_expiry ON authflow.device_codes (expires_at);
