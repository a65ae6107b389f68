-- Hosts of client metadata documents that wait for an administrator, or were decided about.
CREATE TABLE document_hosts (
    host        TEXT PRIMARY KEY,
    asked_at    INTEGER NOT NULL,
    decided_at  INTEGER,
    is_allowed  INTEGER,
    CHECK ((decided_at IS NULL) = (is_allowed IS NULL))
) STRICT, WITHOUT ROWID;
