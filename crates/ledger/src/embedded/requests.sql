-- The last requests of an account, numbered in the order they were charged.
CREATE TABLE IF NOT EXISTS recent (
    shard INTEGER NOT NULL,
    account TEXT NOT NULL,
    position INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    request TEXT NOT NULL,
    receipt TEXT,
    key TEXT NOT NULL,
    project TEXT,
    model TEXT NOT NULL,
    work TEXT NOT NULL,
    prompt INTEGER NOT NULL,
    cached INTEGER NOT NULL,
    completion INTEGER NOT NULL,
    reasoning INTEGER NOT NULL,
    charged INTEGER NOT NULL,
    PRIMARY KEY (shard, account, position)
) STRICT, WITHOUT ROWID;
CREATE UNIQUE INDEX IF NOT EXISTS recent_request ON recent (shard, account, request);
CREATE INDEX IF NOT EXISTS recent_age ON recent (shard, at_ms);

-- Receipts as they were sent.
CREATE TABLE IF NOT EXISTS kept_receipt (
    shard INTEGER NOT NULL,
    receipt TEXT NOT NULL,
    day INTEGER NOT NULL,
    account TEXT NOT NULL,
    request TEXT NOT NULL,
    key TEXT NOT NULL,
    project TEXT,
    -- 1: the request was charged by it.
    billed INTEGER NOT NULL,
    charged INTEGER NOT NULL,
    jws TEXT NOT NULL,
    PRIMARY KEY (shard, receipt)
) STRICT;
CREATE INDEX IF NOT EXISTS kept_receipt_request ON kept_receipt (shard, request);
CREATE INDEX IF NOT EXISTS kept_receipt_day ON kept_receipt (shard, day);
