CREATE TABLE IF NOT EXISTS chain_head (
    shard INTEGER PRIMARY KEY,
    number INTEGER NOT NULL,
    digest BLOB NOT NULL,
    at INTEGER NOT NULL,
    entries INTEGER NOT NULL
) STRICT;

-- The last entry that is gone.
CREATE TABLE IF NOT EXISTS trimmed (shard INTEGER PRIMARY KEY, at INTEGER NOT NULL) STRICT;

-- 0 for a reader that is done with no entry.
CREATE TABLE IF NOT EXISTS cursor (
    shard INTEGER NOT NULL,
    name TEXT NOT NULL,
    at INTEGER NOT NULL,
    PRIMARY KEY (shard, name)
) STRICT, WITHOUT ROWID;
