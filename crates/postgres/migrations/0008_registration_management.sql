-- The digest of the token with which a client changes its own registration (RFC 7592); NULL for clients that cannot.
ALTER TABLE authflow.clients ADD COLUMN registration_access_token bytea;
