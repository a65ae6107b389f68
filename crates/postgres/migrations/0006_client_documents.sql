-- Hosts of client metadata documents that wait for an administrator, or were decided about.
CREATE TABLE authflow.document_hosts (
    asked_at bigint NOT NULL,
    decided_at bigint,
    is_allowed boolean,
    host text COLLATE "C" PRIMARY KEY,
    CHECK ((decided_at IS NULL) = (is_allowed IS NULL))
);
