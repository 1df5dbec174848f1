-- What pages show without reading runs: figures of each minute and hour, who owned which shard when, and how long history is kept.

-- Figures of a span (60000 or 3600000 milliseconds) from begins_at, as one server process (writer) counted them; hours are summed from
-- minutes and have the writer 0. An empty group_id is all groups of the writer together, so that a whole cluster is a few rows a minute.
-- lateness holds counts by the bounds of the store's code, worst the latest starts, both as JSON.
CREATE TABLE IF NOT EXISTS figures (
    span INT UNSIGNED NOT NULL,
    group_id VARCHAR(48) NOT NULL,
    begins_at BIGINT NOT NULL,
    writer BIGINT NOT NULL,
    started BIGINT NOT NULL,
    succeeded BIGINT NOT NULL,
    failed BIGINT NOT NULL,
    missed BIGINT NOT NULL,
    skipped BIGINT NOT NULL,
    lateness_max BIGINT NOT NULL,
    lateness TEXT NOT NULL,
    worst TEXT NOT NULL,
    PRIMARY KEY (span, group_id, begins_at, writer),
    KEY figures_age (span, begins_at)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- One row for each epoch of a shard: which server made it its own, where it stands, whom it followed, and why.
CREATE TABLE IF NOT EXISTS shard_hand_over (
    shard INT UNSIGNED NOT NULL,
    epoch BIGINT NOT NULL,
    owner VARCHAR(64) NOT NULL,
    room VARCHAR(128) NOT NULL,
    previous_owner VARCHAR(64) NULL,
    happened_at BIGINT NOT NULL,
    cause VARCHAR(32) NOT NULL,
    PRIMARY KEY (shard, epoch),
    KEY shard_hand_over_time (happened_at, shard)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;

-- Only groups that keep their runs for another time than the consoles' setting says.
CREATE TABLE IF NOT EXISTS group_retention (
    group_id VARCHAR(48) NOT NULL,
    keep_days INT UNSIGNED NOT NULL,
    PRIMARY KEY (group_id)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_bin;
