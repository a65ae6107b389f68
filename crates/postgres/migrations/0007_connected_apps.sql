-- When tokens of a grant were last fetched, to within a minute, and from which network address; NULL before the first time.
-- Every refresh may write them, so a page keeps room for the next version of its rows.
ALTER TABLE authflow.grants
    ADD COLUMN last_used_at bigint,
    ADD COLUMN last_used_from text;
ALTER TABLE authflow.grants SET (fillfactor = 85);
