-- The first schema: task groups, jobs, shards, runs, subtasks, logs and accounts.
-- Instants are milliseconds since the Unix epoch. Names compare by their bytes; where case does not count, a folded copy stands beside
-- the name. Tables and columns are those of the MySQL schema.

-- Numbers that are never given twice: job ids, users, tokens, a cluster's group numbers.
CREATE TABLE sequence (
    name TEXT NOT NULL,
    next_value INTEGER NOT NULL,
    PRIMARY KEY (name)
) STRICT, WITHOUT ROWID;

CREATE TABLE task_group (
    group_id TEXT NOT NULL,
    cluster INTEGER NOT NULL,
    server_group INTEGER NOT NULL,
    backups INTEGER NOT NULL,
    number INTEGER NOT NULL,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    shards INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    PRIMARY KEY (group_id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX task_group_in_order ON task_group (cluster, server_group, backups, number);
CREATE UNIQUE INDEX task_group_name ON task_group (cluster, name);

-- Gives each shard a small number for the run rows. Rows are never changed or deleted, so that processes may remember them and
-- history stays readable when a group is gone.
CREATE TABLE shard_number (
    shard INTEGER PRIMARY KEY AUTOINCREMENT,
    group_id TEXT NOT NULL,
    shard_index INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX shard_number_of ON shard_number (group_id, shard_index);

CREATE TABLE shard (
    shard INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    owner TEXT NULL,
    jobs_version INTEGER NOT NULL,
    planned_until INTEGER NOT NULL,
    holders TEXT NOT NULL,
    PRIMARY KEY (shard)
) STRICT, WITHOUT ROWID;

-- search_text is the folded name and handler.
CREATE TABLE job (
    job INTEGER NOT NULL,
    version INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    group_id TEXT NOT NULL,
    shard_index INTEGER NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    enabled INTEGER NOT NULL,
    search_text TEXT NOT NULL,
    spec TEXT NOT NULL,
    effective_from INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    updated_by TEXT NOT NULL,
    PRIMARY KEY (job)
) STRICT;
CREATE UNIQUE INDEX job_name ON job (group_id, name);
CREATE INDEX job_of_shard ON job (shard, job);
CREATE INDEX job_of_group ON job (group_id, job);

CREATE TABLE job_label (
    job INTEGER NOT NULL,
    label_key TEXT NOT NULL,
    label_value TEXT NOT NULL,
    PRIMARY KEY (job, label_key)
) STRICT, WITHOUT ROWID;

-- Every version a job ever had, kept when the job is deleted.
CREATE TABLE job_version (
    job INTEGER NOT NULL,
    version INTEGER NOT NULL,
    shard_index INTEGER NOT NULL,
    spec TEXT NOT NULL,
    effective_from INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    updated_by TEXT NOT NULL,
    PRIMARY KEY (job, version)
) STRICT;

CREATE TABLE deleted_job (
    job INTEGER NOT NULL,
    group_id TEXT NOT NULL,
    name TEXT NOT NULL,
    deleted_at INTEGER NOT NULL,
    deleted_by TEXT NOT NULL,
    PRIMARY KEY (job)
) STRICT, WITHOUT ROWID;

-- The hot table. The primary key begins with the fire time: planning appends at its end, whole days are dropped at its beginning, and
-- history is read backwards along it. What few runs have (texts, params, a foreign trace) is null in the others and takes no room.
CREATE TABLE run (
    fire_time INTEGER NOT NULL,
    job INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    shard INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    job_version INTEGER NOT NULL,
    trigger_kind INTEGER NOT NULL,
    worker INTEGER NULL,
    plan_no INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    state INTEGER NOT NULL,
    due_at INTEGER NOT NULL,
    start_by INTEGER NOT NULL,
    started_at INTEGER NULL,
    finished_at INTEGER NULL,
    reason_code INTEGER NULL,
    reason_detail TEXT NULL,
    result TEXT NULL,
    params TEXT NULL,
    trace BLOB NULL,
    PRIMARY KEY (fire_time, job, ordinal)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_of_job ON run (job, fire_time, ordinal);
CREATE INDEX run_in_state ON run (state, shard, fire_time, job, ordinal);

-- Attempts that were followed by another one.
CREATE TABLE run_attempt (
    fire_time INTEGER NOT NULL,
    job INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    worker INTEGER NULL,
    due_at INTEGER NOT NULL,
    started_at INTEGER NULL,
    finished_at INTEGER NOT NULL,
    reason_code INTEGER NOT NULL,
    reason_detail TEXT NOT NULL,
    PRIMARY KEY (fire_time, job, ordinal, attempt)
) STRICT, WITHOUT ROWID;

-- Idempotency keys compare by all their bytes, trailing blanks included.
CREATE TABLE trigger_request (
    job INTEGER NOT NULL,
    idempotency_key BLOB NOT NULL,
    fire_time INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    PRIMARY KEY (job, idempotency_key)
) STRICT, WITHOUT ROWID;
CREATE INDEX trigger_request_age ON trigger_request (fire_time);

-- A row without a header was claimed before its first checkpoint.
CREATE TABLE map_run (
    fire_time INTEGER NOT NULL,
    job INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    phase TEXT NULL,
    header TEXT NULL,
    PRIMARY KEY (fire_time, job, ordinal, attempt)
) STRICT, WITHOUT ROWID;
CREATE INDEX map_run_in_phase ON map_run (phase, fire_time);

-- body and search_keys are LZ4; least_key and greatest_key let a search skip the batch.
CREATE TABLE subtask_batch (
    fire_time INTEGER NOT NULL,
    job INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    batch_no INTEGER NOT NULL,
    first_index INTEGER NOT NULL,
    subtasks INTEGER NOT NULL,
    least_key BLOB NULL,
    greatest_key BLOB NULL,
    search_keys BLOB NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (fire_time, job, ordinal, attempt, batch_no)
) STRICT;
CREATE INDEX subtask_batch_from ON subtask_batch (fire_time, job, ordinal, attempt, first_index);

CREATE TABLE subtask_chunk (
    fire_time INTEGER NOT NULL,
    job INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    chunk_no INTEGER NOT NULL,
    done BLOB NOT NULL,
    failed BLOB NOT NULL,
    PRIMARY KEY (fire_time, job, ordinal, attempt, chunk_no)
) STRICT;

CREATE TABLE subtask_output (
    fire_time INTEGER NOT NULL,
    job INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    subtask_index INTEGER NOT NULL,
    output BLOB NOT NULL,
    PRIMARY KEY (fire_time, job, ordinal, attempt, subtask_index)
) STRICT;

CREATE TABLE subtask_failure (
    fire_time INTEGER NOT NULL,
    job INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    subtask_index INTEGER NOT NULL,
    try_no INTEGER NOT NULL,
    failed_at INTEGER NOT NULL,
    worker TEXT NOT NULL,
    error TEXT NOT NULL,
    is_last INTEGER NOT NULL,
    PRIMARY KEY (fire_time, job, ordinal, attempt, subtask_index, try_no)
) STRICT, WITHOUT ROWID;

CREATE TABLE log_chunk (
    fire_time INTEGER NOT NULL,
    job INTEGER NOT NULL,
    ordinal INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    chunk_no INTEGER NOT NULL,
    byte_offset INTEGER NOT NULL,
    byte_length INTEGER NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (fire_time, job, ordinal, attempt, chunk_no)
) STRICT;

-- folded_name is the sign-in name in lower case.
CREATE TABLE user_account (
    user_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    folded_name TEXT NOT NULL,
    display_name TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    administrator INTEGER NOT NULL,
    disabled INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (user_id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX user_account_name ON user_account (folded_name);

CREATE TABLE group_grant (
    user_id INTEGER NOT NULL,
    group_id TEXT NOT NULL,
    role TEXT NOT NULL,
    granted_at INTEGER NOT NULL,
    granted_by TEXT NOT NULL,
    PRIMARY KEY (user_id, group_id)
) STRICT, WITHOUT ROWID;
CREATE INDEX group_grant_of_group ON group_grant (group_id, user_id);

CREATE TABLE session (
    hash BLOB NOT NULL,
    user_id INTEGER NOT NULL,
    user_revision INTEGER NOT NULL,
    csrf TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX session_of_user ON session (user_id);
CREATE INDEX session_age ON session (expires_at);

-- user_id with at_most, or group_id: whom the token acts as, or which group's workers it admits.
CREATE TABLE token (
    token_id INTEGER NOT NULL,
    name TEXT NOT NULL,
    hash BLOB NOT NULL,
    prefix TEXT NOT NULL,
    user_id INTEGER NULL,
    at_most TEXT NULL,
    group_id TEXT NULL,
    created_at INTEGER NOT NULL,
    created_by TEXT NOT NULL,
    expires_at INTEGER NULL,
    last_used_at INTEGER NULL,
    PRIMARY KEY (token_id)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX token_hash ON token (hash);
CREATE INDEX token_of_user ON token (user_id, token_id);
CREATE INDEX token_of_group ON token (group_id, token_id);
CREATE INDEX token_age ON token (expires_at);

CREATE TABLE sign_in_failure (
    failure_key BLOB NOT NULL,
    window_start INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    PRIMARY KEY (failure_key, window_start)
) STRICT, WITHOUT ROWID;
CREATE INDEX sign_in_failure_age ON sign_in_failure (window_start);

CREATE TABLE audit_entry (
    entry INTEGER PRIMARY KEY AUTOINCREMENT,
    happened_at INTEGER NOT NULL,
    actor TEXT NOT NULL,
    source TEXT NOT NULL,
    action TEXT NOT NULL,
    target TEXT NOT NULL,
    group_id TEXT NULL,
    outcome TEXT NOT NULL,
    state_before TEXT NULL,
    state_after TEXT NULL
) STRICT;
CREATE INDEX audit_entry_of_target ON audit_entry (target, entry);
CREATE INDEX audit_entry_of_actor ON audit_entry (actor, entry);
CREATE INDEX audit_entry_of_group ON audit_entry (group_id, entry);
