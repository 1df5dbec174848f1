-- Indexes for pages: a job's runs in some states, and any byte of a long log, are found without reading past the others.
-- MySQL has no CREATE INDEX IF NOT EXISTS, and every statement may be repeated: whether there is something to do is looked up first.
SET @carillon_ddl = IF(
    EXISTS (
        SELECT 1 FROM information_schema.statistics
        WHERE table_schema = DATABASE() AND table_name = 'run' AND index_name = 'run_of_job_in_state'
    ),
    'DO 0',
    'CREATE INDEX run_of_job_in_state ON run (job, state, fire_time, ordinal)'
);
PREPARE carillon_statement FROM @carillon_ddl;
EXECUTE carillon_statement;
SET @carillon_ddl = IF(
    EXISTS (
        SELECT 1 FROM information_schema.statistics
        WHERE table_schema = DATABASE() AND table_name = 'log_chunk' AND index_name = 'log_chunk_from'
    ),
    'DO 0',
    'CREATE INDEX log_chunk_from ON log_chunk (fire_time, job, ordinal, attempt, byte_offset, byte_length)'
);
PREPARE carillon_statement FROM @carillon_ddl;
EXECUTE carillon_statement;
DEALLOCATE PREPARE carillon_statement;
