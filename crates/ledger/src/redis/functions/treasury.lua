-- What is decided to be paid: a stream whose entries are numbered from 0-1 without a gap, so that the last one's number is
-- how many there are. And who may decide: a hash of a holder and a time. Both are the first shard's. Every function writes
-- the time, the reading one too: what it answers is then waited for until it is durable.

-- Entries that one step reads: a record may be long.
local DECISIONS_STEP = 32

local function decisions_count(key)
    local last = redis.call('XREVRANGE', key, '+', '-', 'COUNT', '1')[1]
    if not last then return 0 end
    return tonumber(string.match(last[1], '^0%-(%d+)$'))
end

-- Records after the first `after`: at most so many, of at most so many bytes.
local function read_decisions(key, after, limit, bytes)
    local found = {}
    while #found < limit do
        local step = math.min(limit - #found, DECISIONS_STEP)
        local some = redis.call('XRANGE', key, '(0-' .. text(after + #found), '+', 'COUNT', text(step))
        for _, entry in ipairs(some) do
            local record = entry[2][2]
            bytes = bytes - #record
            if bytes < 0 then return found end
            found[#found + 1] = record
        end
        if #some < step then break end
    end
    return found
end

local function append_decisions(keys, args)
    local k = named(keys, {'clock', 'decisions'})
    local after, number = tonumber(args[1]), #args - 1
    time(k.clock)
    local count = decisions_count(k.decisions)
    if count == after then
        for index = 1, number do
            redis.call('XADD', k.decisions, '0-' .. text(after + index), 'd', args[index + 1])
        end
        return {'appended', text(after + number)}
    end
    if count ~= after + number then return {'moved', text(count)} end
    for index, record in ipairs(read_decisions(k.decisions, after, number, math.huge)) do
        if record ~= args[index + 1] then return {'moved', text(count)} end
    end
    return {'appended', text(count)}
end

local function decisions(keys, args)
    local k = named(keys, {'clock', 'decisions'})
    local a = named(args, {'after', 'limit', 'bytes'})
    time(k.clock)
    local found = read_decisions(k.decisions, tonumber(a.after), tonumber(a.limit), tonumber(a.bytes))
    table.insert(found, 1, 'decisions')
    return found
end

local function hold_lease(keys, args)
    local k = named(keys, {'clock', 'lease'})
    local a = named(args, {'holder', 'lasts'})
    local now = time(k.clock)
    local kept = redis.call('HMGET', k.lease, 'holder', 'until')
    local holder, ends = kept[1], tonumber(kept[2] or '0')
    if holder and holder ~= a.holder and ends > now then return {'lease', holder, text(ends), text(now)} end
    local until_ms = now + tonumber(a.lasts)
    if holder == a.holder then until_ms = math.max(until_ms, ends) end
    redis.call('HSET', k.lease, 'holder', a.holder, 'until', text(until_ms))
    return {'lease', a.holder, text(until_ms), text(now)}
end

local function give_up_lease(keys, args)
    local k = named(keys, {'clock', 'lease'})
    time(k.clock)
    if redis.call('HGET', k.lease, 'holder') == args[1] then redis.call('DEL', k.lease) end
    return {'given_up'}
end

redis.register_function('cocoon2_append_decisions', append_decisions)
redis.register_function('cocoon2_decisions', decisions)
redis.register_function('cocoon2_hold_lease', hold_lease)
redis.register_function('cocoon2_give_up_lease', give_up_lease)
