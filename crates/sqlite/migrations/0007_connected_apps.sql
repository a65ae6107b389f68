-- When tokens of a grant were last fetched, to within a minute, and from which network address; NULL before the first time.
ALTER TABLE grants ADD COLUMN last_used_at INTEGER;
ALTER TABLE grants ADD COLUMN last_used_from TEXT;
