-- Payment channels: a hash of each, and a sorted set of their accounts, all of one score, so that they are read by name, in
-- pages. Fields: key and signature in hexadecimal; deposited, base; cumulative and signature of the newest voucher, which are
-- not there before the first; closed, '0' or '1'. Amounts are below 2^53.

local function read_channel(key)
    local values = redis.call('HMGET', key, 'key', 'deposited', 'base', 'cumulative', 'closed')
    if not values[1] then return nil end
    local base = tonumber(values[3])
    return {
        key = values[1], deposited = tonumber(values[2]), closed = values[5] == '1',
        ceiling = math.max(base, tonumber(values[4] or '0')),
    }
end

local function open_channel(keys, args)
    local k = named(keys, {'clock', 'channel', 'channels'})
    local a = named(args, {'account', 'key', 'deposited', 'settled'})
    time(k.clock)
    local known = read_channel(k.channel)
    if not known then
        redis.call('HSET', k.channel, 'key', a.key, 'deposited', a.deposited, 'base', a.settled, 'closed', '0')
        redis.call('ZADD', k.channels, '0', a.account)
        return {'open'}
    end
    if known.key ~= a.key then return {'other_key'} end
    if known.closed then return {'closed'} end
    if tonumber(a.deposited) > known.deposited then redis.call('HSET', k.channel, 'deposited', a.deposited) end
    return {'open'}
end

local function raise_ceiling(keys, args)
    local k = named(keys, {'clock', 'totals', 'account', 'journal', 'channel', 'accounts'})
    local a = named(args, {'account', 'cumulative', 'signature'})
    local now = time(k.clock)
    local channel = read_channel(k.channel)
    if not channel then return {'unknown'} end
    if channel.closed then return {'closed'} end
    local cumulative = tonumber(a.cumulative)
    if cumulative <= channel.ceiling then return {'known'} end
    if cumulative > channel.deposited then return {'above_deposit', text(channel.deposited)} end
    local by = cumulative - channel.ceiling
    if read_account(k.account) + by >= AMOUNT_LIMIT or not has_room(k.totals, 'balances', by)
        or not has_room(k.totals, 'deposits', by) then
        return {'overflow'}
    end
    redis.call('HSET', k.channel, 'cumulative', a.cumulative, 'signature', a.signature)
    know(k.accounts, a.account)
    add(k.account, 'balance', by)
    add(k.account, 'deposited', by)
    add(k.totals, 'balances', by)
    add(k.totals, 'deposits', by)
    redis.call('XADD', k.journal, '*', 't', text(now), 'k', 'v', 'a', a.account, 'c', a.cumulative, 'y', '', 'p', '',
        'm', '', 'w', '', 'o', '', 'r', '', 'd', '', 'u', '', 'n', text(by), 's', '0', 'op', '0', 'pl', '0')
    return {'raised', text(by)}
end

local function close_channel(keys, args)
    local k = named(keys, {'clock', 'channel'})
    time(k.clock)
    if not read_channel(k.channel) then return {'unknown'} end
    redis.call('HSET', k.channel, 'closed', '1')
    return {'closed'}
end

redis.register_function('cocoon2_open_channel', open_channel)
redis.register_function('cocoon2_raise_ceiling', raise_ceiling)
redis.register_function('cocoon2_close_channel', close_channel)
