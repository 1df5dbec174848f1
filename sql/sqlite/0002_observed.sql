-- What pages show without reading runs: figures of each minute and hour, who owned which shard when, and how long history is kept.

-- Figures of a span (60000 or 3600000 milliseconds) from begins_at, as one server process (writer) counted them; hours are summed from
-- minutes and have the writer 0. An empty group_id is all groups of the writer together, so that a whole cluster is a few rows a minute.
-- lateness holds counts by the bounds of the store's code, worst the latest starts, both as JSON.
CREATE TABLE figures (
    span INTEGER NOT NULL,
    group_id TEXT NOT NULL,
    begins_at INTEGER NOT NULL,
    writer INTEGER NOT NULL,
    started INTEGER NOT NULL,
    succeeded INTEGER NOT NULL,
    failed INTEGER NOT NULL,
    missed INTEGER NOT NULL,
    skipped INTEGER NOT NULL,
    lateness_max INTEGER NOT NULL,
    lateness TEXT NOT NULL,
    worst TEXT NOT NULL,
    PRIMARY KEY (span, group_id, begins_at, writer)
) STRICT, WITHOUT ROWID;
CREATE INDEX figures_age ON figures (span, begins_at);

-- One row for each epoch of a shard: which server made it its own, where it stands, whom it followed, and why.
CREATE TABLE shard_hand_over (
    shard INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    owner TEXT NOT NULL,
    room TEXT NOT NULL,
    previous_owner TEXT NULL,
    happened_at INTEGER NOT NULL,
    cause TEXT NOT NULL,
    PRIMARY KEY (shard, epoch)
) STRICT, WITHOUT ROWID;
CREATE INDEX shard_hand_over_time ON shard_hand_over (happened_at, shard);

-- Only groups that keep their runs for another time than the consoles' setting says.
CREATE TABLE group_retention (
    group_id TEXT NOT NULL,
    keep_days INTEGER NOT NULL,
    PRIMARY KEY (group_id)
) STRICT, WITHOUT ROWID;
