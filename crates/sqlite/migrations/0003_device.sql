-- Devices that wait for a person (RFC 8628). user_code is keyed with the server's key; wait is how many seconds lie between
-- two polls; claimed_by is the interaction in which a person decides, once somebody has typed the user code.
CREATE TABLE device_codes (
    hash                BLOB NOT NULL PRIMARY KEY,
    user_code           BLOB NOT NULL UNIQUE,
    client_id           TEXT NOT NULL,
    client_generation   INTEGER NOT NULL,
    request             TEXT NOT NULL,
    created_at          INTEGER NOT NULL,
    expires_at          INTEGER NOT NULL,
    wait                INTEGER NOT NULL,
    last_poll_at        INTEGER,
    status              TEXT NOT NULL,
    claimed_by          BLOB
) STRICT, WITHOUT ROWID;
CREATE INDEX device_codes_by_expiry ON device_codes (expires_at);
