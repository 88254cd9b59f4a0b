-- Answers kept for repeated requests, in the same library: an account's are in one hash, by the hex of their id, with
-- the bytes of each beside it; a sorted set has their age. The hash's values are text: state, holder, fingerprint,
-- due, size; its field `bytes` is the sum of sizes. States: r running, k kept, n ended and not kept.

local KEPT_MS = 86400000
local ANSWERS_AT_ONCE = 100

local function pack_answer(entry)
    return table.concat({entry.state, entry.holder, entry.fingerprint, text(entry.due), text(entry.size)}, '|')
end

local function read_answer(key, id)
    local packed = redis.call('HGET', key, id)
    if not packed then return nil end
    local state, holder, fingerprint, due, size =
        string.match(packed, '^(%a)|([^|]*)|([^|]*)|(%d+)|(%d+)$')
    return {state = state, holder = holder, fingerprint = fingerprint, due = tonumber(due), size = tonumber(size)}
end

-- An account that asks no more is forgotten by the server itself.
local function write_answer(k, id, entry, now)
    redis.call('HSET', k.answers, id, pack_answer(entry))
    redis.call('ZADD', k.ages, text(now), id)
    for _, key in ipairs({k.answers, k.bytes, k.ages}) do redis.call('PEXPIRE', key, text(KEPT_MS)) end
end

local function drop_answer(k, id)
    local entry = read_answer(k.answers, id)
    if entry then add(k.answers, 'bytes', -entry.size) end
    redis.call('HDEL', k.answers, id)
    redis.call('HDEL', k.bytes, id)
    redis.call('ZREM', k.ages, id)
end

local function drop_old_answers(k, now)
    local over = redis.call('ZRANGEBYSCORE', k.ages, '-inf', text(now - KEPT_MS), 'LIMIT', '0', text(ANSWERS_AT_ONCE))
    for _, id in ipairs(over) do drop_answer(k, id) end
end

-- The oldest that is not running and not `but`; whether there was one.
local function drop_oldest_answer(k, but)
    local first = 0
    while true do
        local ids = redis.call('ZRANGE', k.ages, text(first), text(first + ANSWERS_AT_ONCE - 1))
        if #ids == 0 then return false end
        for _, id in ipairs(ids) do
            local entry = read_answer(k.answers, id)
            if id ~= but and (not entry or entry.state ~= 'r') then
                drop_answer(k, id)
                return true
            end
        end
        first = first + ANSWERS_AT_ONCE
    end
end

local function begin_answer(keys, args)
    local k = named(keys, {'clock', 'answers', 'bytes', 'ages'})
    local a = named(args, {'id', 'fingerprint', 'holder', 'lease', 'limit'})
    local now = time(k.clock)
    drop_old_answers(k, now)
    local entry = read_answer(k.answers, a.id)
    local begun = tonumber(redis.call('ZSCORE', k.ages, a.id) or '0')
    if entry and begun <= now - KEPT_MS then
        drop_answer(k, a.id)
        entry = nil
    end
    if entry then
        if entry.fingerprint ~= a.fingerprint then return {'other_request'} end
        if entry.state == 'k' then
            local kept = redis.call('HGET', k.bytes, a.id)
            if kept then return {'kept', kept} end
            return {'not_kept'}
        end
        if entry.state == 'n' then return {'not_kept'} end
        if entry.holder ~= a.holder and entry.due > now then return {'running'} end
    elseif redis.call('ZCARD', k.ages) >= tonumber(a.limit) and not drop_oldest_answer(k, a.id) then
        return {'full'}
    end
    write_answer(k, a.id, {
        state = 'r', holder = a.holder, fingerprint = a.fingerprint, due = now + tonumber(a.lease), size = 0,
    }, now)
    return {'started'}
end

local function renew_answer(keys, args)
    local k = named(keys, {'clock', 'answers', 'bytes', 'ages'})
    local a = named(args, {'id', 'holder', 'lease'})
    local now = time(k.clock)
    local entry = read_answer(k.answers, a.id)
    if not entry or entry.state ~= 'r' or entry.holder ~= a.holder then return {'lost'} end
    entry.due = now + tonumber(a.lease)
    redis.call('HSET', k.answers, a.id, pack_answer(entry))
    return {'done'}
end

local function end_answer(keys, args)
    local k = named(keys, {'clock', 'answers', 'bytes', 'ages'})
    local a = named(args, {'id', 'holder', 'state', 'answer', 'size', 'limit'})
    local now = time(k.clock)
    local entry = read_answer(k.answers, a.id)
    if not entry or entry.holder ~= a.holder then return {'lost'} end
    if entry.state ~= 'r' then return {entry.state == a.state and 'done' or 'lost'} end
    entry.state, entry.due, entry.size = a.state, now, tonumber(a.size)
    if a.state == 'k' then redis.call('HSET', k.bytes, a.id, a.answer) end
    add(k.answers, 'bytes', entry.size)
    -- From its end on, for as long as is promised: a long request does not eat into that.
    write_answer(k, a.id, entry, now)
    while tonumber(redis.call('HGET', k.answers, 'bytes') or '0') > tonumber(a.limit) do
        if not drop_oldest_answer(k, a.id) then break end
    end
    return {'done'}
end

local function abandon_answer(keys, args)
    local k = named(keys, {'clock', 'answers', 'bytes', 'ages'})
    local a = named(args, {'id', 'holder'})
    time(k.clock)
    local entry = read_answer(k.answers, a.id)
    if not entry or entry.state ~= 'r' or entry.holder ~= a.holder then return {'lost'} end
    drop_answer(k, a.id)
    return {'done'}
end

redis.register_function('cocoon2_begin_answer', begin_answer)
redis.register_function('cocoon2_renew_answer', renew_answer)
redis.register_function('cocoon2_end_answer', end_answer)
redis.register_function('cocoon2_abandon_answer', abandon_answer)
