CREATE TABLE IF NOT EXISTS payout (
    shard INTEGER NOT NULL,
    account TEXT NOT NULL,
    current TEXT,
    pending TEXT,
    pending_from INTEGER,
    PRIMARY KEY (shard, account)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS withdrawal (
    shard INTEGER NOT NULL,
    intent TEXT NOT NULL,
    account TEXT NOT NULL,
    amount INTEGER NOT NULL,
    address TEXT NOT NULL,
    -- b: begun; d: done; u: undone.
    state TEXT NOT NULL,
    PRIMARY KEY (shard, intent)
) STRICT, WITHOUT ROWID;

CREATE TABLE IF NOT EXISTS withdrawals_stopped (shard INTEGER PRIMARY KEY, reason TEXT NOT NULL) STRICT;
