CREATE TABLE IF NOT EXISTS channel (
    shard INTEGER NOT NULL,
    account TEXT NOT NULL,
    payer_key BLOB NOT NULL,
    deposited INTEGER NOT NULL,
    base INTEGER NOT NULL,
    -- Of the newest voucher; both null before the first.
    cumulative INTEGER,
    signature BLOB,
    closed INTEGER NOT NULL,
    PRIMARY KEY (shard, account)
) STRICT, WITHOUT ROWID;
