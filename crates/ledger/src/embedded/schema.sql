CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE shard (
    shard INTEGER PRIMARY KEY,
    last_ms INTEGER NOT NULL DEFAULT 0,
    last_entry INTEGER NOT NULL DEFAULT 0,
    balances INTEGER NOT NULL DEFAULT 0,
    held INTEGER NOT NULL DEFAULT 0,
    deposits INTEGER NOT NULL DEFAULT 0,
    grants INTEGER NOT NULL DEFAULT 0,
    charges INTEGER NOT NULL DEFAULT 0,
    shortfall INTEGER NOT NULL DEFAULT 0,
    platform INTEGER NOT NULL DEFAULT 0,
    open_holds INTEGER NOT NULL DEFAULT 0,
    too_old INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE account (
    shard INTEGER NOT NULL,
    account TEXT NOT NULL,
    balance INTEGER NOT NULL CHECK (balance >= 0),
    held INTEGER NOT NULL CHECK (held >= 0 AND held <= balance),
    deposited INTEGER NOT NULL,
    granted INTEGER NOT NULL,
    charged INTEGER NOT NULL,
    shortfall INTEGER NOT NULL,
    open_holds INTEGER NOT NULL,
    PRIMARY KEY (shard, account)
) STRICT, WITHOUT ROWID;

CREATE TABLE hold (
    shard INTEGER NOT NULL,
    request TEXT NOT NULL,
    account TEXT NOT NULL,
    key TEXT NOT NULL,
    project TEXT,
    model TEXT NOT NULL,
    work TEXT NOT NULL,
    amount INTEGER NOT NULL,
    due_ms INTEGER NOT NULL,
    reserved_ms INTEGER NOT NULL,
    lease_end_ms INTEGER NOT NULL,
    took TEXT NOT NULL,
    attempt INTEGER NOT NULL DEFAULT 0,
    keyset BLOB,
    checkpoint_cost INTEGER,
    checkpoint_operator TEXT,
    checkpoint_operator_part INTEGER,
    prompt INTEGER,
    cached INTEGER,
    completion INTEGER,
    reasoning INTEGER,
    PRIMARY KEY (shard, request)
) STRICT, WITHOUT ROWID;
CREATE INDEX hold_due ON hold (shard, due_ms, request);

CREATE TABLE finished (
    shard INTEGER NOT NULL,
    request TEXT NOT NULL,
    day INTEGER NOT NULL,
    state TEXT NOT NULL,
    account TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    keyset BLOB,
    charged INTEGER NOT NULL,
    operator TEXT,
    operator_part INTEGER NOT NULL,
    reserved_ms INTEGER NOT NULL,
    PRIMARY KEY (shard, request)
) STRICT, WITHOUT ROWID;
CREATE INDEX finished_day ON finished (shard, day);

CREATE TABLE receipt (
    shard INTEGER NOT NULL,
    receipt TEXT NOT NULL,
    day INTEGER NOT NULL,
    charged INTEGER NOT NULL,
    PRIMARY KEY (shard, receipt)
) STRICT, WITHOUT ROWID;
CREATE INDEX receipt_day ON receipt (shard, day);

CREATE TABLE aside (
    shard INTEGER NOT NULL,
    receipt TEXT NOT NULL,
    at_ms INTEGER NOT NULL,
    account TEXT NOT NULL,
    request TEXT NOT NULL,
    operator TEXT NOT NULL,
    cost INTEGER NOT NULL,
    receipt_digest BLOB NOT NULL,
    PRIMARY KEY (shard, receipt)
) STRICT, WITHOUT ROWID;

CREATE TABLE deposit (
    shard INTEGER NOT NULL,
    cause TEXT NOT NULL,
    PRIMARY KEY (shard, cause)
) STRICT, WITHOUT ROWID;

CREATE TABLE test_credit (
    shard INTEGER NOT NULL,
    cause TEXT NOT NULL,
    PRIMARY KEY (shard, cause)
) STRICT, WITHOUT ROWID;

CREATE TABLE operator (
    shard INTEGER NOT NULL,
    operator TEXT NOT NULL,
    accrued INTEGER NOT NULL DEFAULT 0,
    reversed INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (shard, operator)
) STRICT, WITHOUT ROWID;

CREATE TABLE journal (
    shard INTEGER NOT NULL,
    id INTEGER NOT NULL,
    at_ms INTEGER NOT NULL,
    kind TEXT NOT NULL,
    account TEXT NOT NULL,
    cause TEXT NOT NULL,
    key TEXT,
    project TEXT,
    model TEXT,
    work TEXT,
    operator TEXT,
    receipt TEXT,
    receipt_digest BLOB,
    prompt INTEGER,
    cached INTEGER,
    completion INTEGER,
    reasoning INTEGER,
    amount INTEGER NOT NULL,
    shortfall INTEGER NOT NULL,
    operator_amount INTEGER NOT NULL,
    platform_amount INTEGER NOT NULL,
    PRIMARY KEY (shard, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE keyset (digest BLOB PRIMARY KEY, bytes BLOB NOT NULL) STRICT, WITHOUT ROWID;
