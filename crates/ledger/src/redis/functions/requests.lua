-- An account's last requests: a sorted set has the time each was charged at, a hash what is known of it, as text:
-- receipt, key, project, work, usage, what was paid, model. Receipts as they were sent are in one hash a day.

local MAX_RECENT = 1000
local RECENT_KEPT_MS = 45 * DAY_MS

-- Notes a charged request, or what a correction made of it.
local function note_request(k, now, entry, charged)
    redis.call('ZADD', k.recent, 'NX', text(now), entry.request)
    redis.call('HSET', k.requests, entry.request, table.concat({entry.receipt or '', entry.key, entry.project or '',
        entry.work, entry.usage, text(charged), entry.model}, '|'))
    if redis.call('ZCARD', k.recent) > MAX_RECENT then
        redis.call('HDEL', k.requests, redis.call('ZPOPMIN', k.recent)[1])
    end
    for _, key in ipairs({k.recent, k.requests}) do redis.call('PEXPIRE', key, text(RECENT_KEPT_MS)) end
end

-- `billed`: the request was charged by it.
local function keep_receipt(k, a, charged, billed)
    redis.call('HSET', k.kept, a.receipt, table.concat(
        {a.account, a.request, a.key, a.project, text(charged), a.receipt_jws}, '|'))
    if billed then redis.call('HSET', k.kept_of, a.request, a.receipt) end
end
