-- Indexes for pages: a job's runs in some states, and any byte of a long log, are found without reading past the others.
CREATE INDEX IF NOT EXISTS run_of_job_in_state ON run (job, state, fire_time, ordinal);
CREATE INDEX IF NOT EXISTS log_chunk_from ON log_chunk (fire_time, job, ordinal, attempt, byte_offset, byte_length);
