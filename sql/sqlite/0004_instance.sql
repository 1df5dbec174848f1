-- Which database took the last edit of a job (`Store::instance`); empty for edits before this migration.
ALTER TABLE job ADD COLUMN instance TEXT NOT NULL DEFAULT '';
