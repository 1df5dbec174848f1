-- The first schema: task groups, jobs, shards, runs, subtasks, logs and accounts.
-- Common subset of MySQL 8 and MariaDB 10.6+. Instants are milliseconds since the Unix epoch. Names compare by their bytes; where
-- case does not count, a folded copy stands beside the name. Every statement may be repeated, because DDL commits by itself.

-- Numbers that are never given twice: job ids, users, tokens, a cluster's group numbers.
CREATE TABLE IF NOT EXISTS sequence (
    name VARCHAR(64) NOT NULL,
    next_value BIGINT NOT NULL,
    PRIMARY KEY (name)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS task_group (
    group_id VARCHAR(48) NOT NULL,
    cluster INT UNSIGNED NOT NULL,
    server_group INT UNSIGNED NOT NULL,
    backups INT UNSIGNED NOT NULL,
    number INT UNSIGNED NOT NULL,
    name VARCHAR(128) NOT NULL,
    description TEXT NOT NULL,
    shards SMALLINT UNSIGNED NOT NULL,
    revision INT UNSIGNED NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (group_id),
    UNIQUE KEY task_group_in_order (cluster, server_group, backups, number),
    UNIQUE KEY task_group_name (cluster, name)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Gives each shard a small number for the run rows. Rows are never changed or deleted, so that processes may remember them and
-- history stays readable when a group is gone.
CREATE TABLE IF NOT EXISTS shard_number (
    shard INT UNSIGNED NOT NULL AUTO_INCREMENT,
    group_id VARCHAR(48) NOT NULL,
    shard_index SMALLINT UNSIGNED NOT NULL,
    PRIMARY KEY (shard),
    UNIQUE KEY shard_number_of (group_id, shard_index)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS shard (
    shard INT UNSIGNED NOT NULL,
    epoch BIGINT NOT NULL,
    owner VARCHAR(64) NULL,
    jobs_version BIGINT NOT NULL,
    planned_until BIGINT NOT NULL,
    holders TEXT NOT NULL,
    PRIMARY KEY (shard)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- search_text is the folded name and handler.
CREATE TABLE IF NOT EXISTS job (
    job INT UNSIGNED NOT NULL,
    version INT UNSIGNED NOT NULL,
    shard INT UNSIGNED NOT NULL,
    group_id VARCHAR(48) NOT NULL,
    shard_index SMALLINT UNSIGNED NOT NULL,
    name VARCHAR(128) NOT NULL,
    kind VARCHAR(16) NOT NULL,
    enabled TINYINT NOT NULL,
    search_text TEXT NOT NULL,
    spec MEDIUMTEXT NOT NULL,
    effective_from BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    updated_by VARCHAR(256) NOT NULL,
    PRIMARY KEY (job),
    UNIQUE KEY job_name (group_id, name),
    KEY job_of_shard (shard, job),
    KEY job_of_group (group_id, job)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS job_label (
    job INT UNSIGNED NOT NULL,
    label_key VARCHAR(128) NOT NULL,
    label_value VARCHAR(512) NOT NULL,
    PRIMARY KEY (job, label_key)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Every version a job ever had, kept when the job is deleted.
CREATE TABLE IF NOT EXISTS job_version (
    job INT UNSIGNED NOT NULL,
    version INT UNSIGNED NOT NULL,
    shard_index SMALLINT UNSIGNED NOT NULL,
    spec MEDIUMTEXT NOT NULL,
    effective_from BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    updated_by VARCHAR(256) NOT NULL,
    PRIMARY KEY (job, version)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS deleted_job (
    job INT UNSIGNED NOT NULL,
    group_id VARCHAR(48) NOT NULL,
    name VARCHAR(128) NOT NULL,
    deleted_at BIGINT NOT NULL,
    deleted_by VARCHAR(256) NOT NULL,
    PRIMARY KEY (job)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- The hot table. The primary key begins with the fire time: planning appends at its end, whole days are dropped at its beginning, and
-- history is read backwards along it. What few runs have (texts, params, a foreign trace) is null in the others and takes no room.
CREATE TABLE IF NOT EXISTS run (
    fire_time BIGINT NOT NULL,
    job INT UNSIGNED NOT NULL,
    ordinal BIGINT NOT NULL,
    shard INT UNSIGNED NOT NULL,
    epoch BIGINT NOT NULL,
    job_version INT UNSIGNED NOT NULL,
    trigger_kind TINYINT UNSIGNED NOT NULL,
    worker BIGINT NULL,
    plan_no INT UNSIGNED NOT NULL,
    attempt INT UNSIGNED NOT NULL,
    state TINYINT UNSIGNED NOT NULL,
    due_at BIGINT NOT NULL,
    start_by BIGINT NOT NULL,
    started_at BIGINT NULL,
    finished_at BIGINT NULL,
    reason_code TINYINT UNSIGNED NULL,
    reason_detail TEXT NULL,
    result MEDIUMTEXT NULL,
    params MEDIUMTEXT NULL,
    trace BINARY(16) NULL,
    PRIMARY KEY (fire_time, job, ordinal),
    KEY run_of_job (job, fire_time, ordinal),
    KEY run_in_state (state, shard, fire_time, job, ordinal)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Attempts that were followed by another one.
CREATE TABLE IF NOT EXISTS run_attempt (
    fire_time BIGINT NOT NULL,
    job INT UNSIGNED NOT NULL,
    ordinal BIGINT NOT NULL,
    attempt INT UNSIGNED NOT NULL,
    worker BIGINT NULL,
    due_at BIGINT NOT NULL,
    started_at BIGINT NULL,
    finished_at BIGINT NOT NULL,
    reason_code TINYINT UNSIGNED NOT NULL,
    reason_detail TEXT NOT NULL,
    PRIMARY KEY (fire_time, job, ordinal, attempt)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Idempotency keys compare by all their bytes, trailing blanks included.
CREATE TABLE IF NOT EXISTS trigger_request (
    job INT UNSIGNED NOT NULL,
    idempotency_key VARBINARY(512) NOT NULL,
    fire_time BIGINT NOT NULL,
    ordinal BIGINT NOT NULL,
    PRIMARY KEY (job, idempotency_key),
    KEY trigger_request_age (fire_time)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- A row without a header was claimed before its first checkpoint.
CREATE TABLE IF NOT EXISTS map_run (
    fire_time BIGINT NOT NULL,
    job INT UNSIGNED NOT NULL,
    ordinal BIGINT NOT NULL,
    attempt INT UNSIGNED NOT NULL,
    epoch BIGINT NOT NULL,
    phase VARCHAR(16) NULL,
    header MEDIUMTEXT NULL,
    PRIMARY KEY (fire_time, job, ordinal, attempt),
    KEY map_run_in_phase (phase, fire_time)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- body and search_keys are LZ4; least_key and greatest_key let a search skip the batch.
CREATE TABLE IF NOT EXISTS subtask_batch (
    fire_time BIGINT NOT NULL,
    job INT UNSIGNED NOT NULL,
    ordinal BIGINT NOT NULL,
    attempt INT UNSIGNED NOT NULL,
    batch_no INT UNSIGNED NOT NULL,
    first_index BIGINT NOT NULL,
    subtasks INT UNSIGNED NOT NULL,
    least_key VARBINARY(512) NULL,
    greatest_key VARBINARY(512) NULL,
    search_keys MEDIUMBLOB NULL,
    body LONGBLOB NOT NULL,
    PRIMARY KEY (fire_time, job, ordinal, attempt, batch_no),
    KEY subtask_batch_from (fire_time, job, ordinal, attempt, first_index)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS subtask_chunk (
    fire_time BIGINT NOT NULL,
    job INT UNSIGNED NOT NULL,
    ordinal BIGINT NOT NULL,
    attempt INT UNSIGNED NOT NULL,
    chunk_no INT UNSIGNED NOT NULL,
    done BLOB NOT NULL,
    failed BLOB NOT NULL,
    PRIMARY KEY (fire_time, job, ordinal, attempt, chunk_no)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS subtask_output (
    fire_time BIGINT NOT NULL,
    job INT UNSIGNED NOT NULL,
    ordinal BIGINT NOT NULL,
    attempt INT UNSIGNED NOT NULL,
    subtask_index BIGINT NOT NULL,
    output MEDIUMBLOB NOT NULL,
    PRIMARY KEY (fire_time, job, ordinal, attempt, subtask_index)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS subtask_failure (
    fire_time BIGINT NOT NULL,
    job INT UNSIGNED NOT NULL,
    ordinal BIGINT NOT NULL,
    attempt INT UNSIGNED NOT NULL,
    subtask_index BIGINT NOT NULL,
    try_no INT UNSIGNED NOT NULL,
    failed_at BIGINT NOT NULL,
    worker VARCHAR(256) NOT NULL,
    error TEXT NOT NULL,
    is_last TINYINT NOT NULL,
    PRIMARY KEY (fire_time, job, ordinal, attempt, subtask_index, try_no)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS log_chunk (
    fire_time BIGINT NOT NULL,
    job INT UNSIGNED NOT NULL,
    ordinal BIGINT NOT NULL,
    attempt INT UNSIGNED NOT NULL,
    chunk_no INT UNSIGNED NOT NULL,
    byte_offset BIGINT NOT NULL,
    byte_length BIGINT NOT NULL,
    body MEDIUMBLOB NOT NULL,
    PRIMARY KEY (fire_time, job, ordinal, attempt, chunk_no)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- folded_name is the sign-in name in lower case.
CREATE TABLE IF NOT EXISTS user_account (
    user_id BIGINT NOT NULL,
    name VARCHAR(64) NOT NULL,
    folded_name VARCHAR(256) NOT NULL,
    display_name VARCHAR(256) NOT NULL,
    password_hash VARCHAR(512) NOT NULL,
    administrator TINYINT NOT NULL,
    disabled TINYINT NOT NULL,
    revision INT UNSIGNED NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (user_id),
    UNIQUE KEY user_account_name (folded_name)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS group_grant (
    user_id BIGINT NOT NULL,
    group_id VARCHAR(48) NOT NULL,
    role VARCHAR(16) NOT NULL,
    granted_at BIGINT NOT NULL,
    granted_by VARCHAR(256) NOT NULL,
    PRIMARY KEY (user_id, group_id),
    KEY group_grant_of_group (group_id, user_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS session (
    hash BINARY(32) NOT NULL,
    user_id BIGINT NOT NULL,
    user_revision INT UNSIGNED NOT NULL,
    csrf VARCHAR(256) NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (hash),
    KEY session_of_user (user_id),
    KEY session_age (expires_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- user_id with at_most, or group_id: whom the token acts as, or which group's workers it admits.
CREATE TABLE IF NOT EXISTS token (
    token_id BIGINT NOT NULL,
    name VARCHAR(256) NOT NULL,
    hash BINARY(32) NOT NULL,
    prefix VARCHAR(64) NOT NULL,
    user_id BIGINT NULL,
    at_most VARCHAR(16) NULL,
    group_id VARCHAR(48) NULL,
    created_at BIGINT NOT NULL,
    created_by VARCHAR(256) NOT NULL,
    expires_at BIGINT NULL,
    last_used_at BIGINT NULL,
    PRIMARY KEY (token_id),
    UNIQUE KEY token_hash (hash),
    KEY token_of_user (user_id, token_id),
    KEY token_of_group (group_id, token_id),
    KEY token_age (expires_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS sign_in_failure (
    failure_key VARBINARY(512) NOT NULL,
    window_start BIGINT NOT NULL,
    failures INT UNSIGNED NOT NULL,
    PRIMARY KEY (failure_key, window_start),
    KEY sign_in_failure_age (window_start)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

CREATE TABLE IF NOT EXISTS audit_entry (
    entry BIGINT NOT NULL AUTO_INCREMENT,
    happened_at BIGINT NOT NULL,
    actor VARCHAR(256) NOT NULL,
    source VARCHAR(256) NOT NULL,
    action VARCHAR(64) NOT NULL,
    target VARCHAR(256) NOT NULL,
    group_id VARCHAR(48) NULL,
    outcome VARCHAR(64) NOT NULL,
    state_before MEDIUMTEXT NULL,
    state_after MEDIUMTEXT NULL,
    PRIMARY KEY (entry),
    KEY audit_entry_of_target (target, entry),
    KEY audit_entry_of_actor (actor, entry),
    KEY audit_entry_of_group (group_id, entry)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
