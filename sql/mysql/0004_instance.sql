-- Which database took the last edit of a job (`Store::instance`); empty for edits before this migration.
SET @carillon_ddl = IF(
    EXISTS (
        SELECT 1 FROM information_schema.columns
        WHERE table_schema = DATABASE() AND table_name = 'job' AND column_name = 'instance'
    ),
    'DO 0',
    'ALTER TABLE job ADD COLUMN instance VARCHAR(255) NOT NULL DEFAULT ""'
);
PREPARE carillon_statement FROM @carillon_ddl;
EXECUTE carillon_statement;
DEALLOCATE PREPARE carillon_statement;
