-- Numbers from 1, without a gap; all are of the first shard.
CREATE TABLE IF NOT EXISTS decision (
    shard INTEGER NOT NULL,
    number INTEGER NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (shard, number)
) STRICT;

CREATE TABLE IF NOT EXISTS treasury_lease (
    shard INTEGER PRIMARY KEY,
    holder TEXT NOT NULL,
    until_ms INTEGER NOT NULL
) STRICT;

-- Those that are to be paid, among all that ever were.
CREATE INDEX IF NOT EXISTS withdrawal_open ON withdrawal (shard, intent) WHERE state = 'b';
