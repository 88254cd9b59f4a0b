-- Requests whose time is over, after the oldest day that may be forgotten (empty: none).
local function expired(keys, args)
    local k = named(keys, {'clock', 'leases', 'days'})
    local now = time(k.clock)
    local first_kept = math.floor(now / DAY_MS) - SEEN_DAYS
    local day = redis.call('ZRANGEBYSCORE', k.days, '-inf', '(' .. text(first_kept), 'LIMIT', '0', '1')
    local over = redis.call('ZRANGEBYSCORE', k.leases, '-inf', text(now), 'LIMIT', '0', args[1])
    table.insert(over, 1, day[1] or '')
    return over
end

local function forget(keys, args)
    local k = named(keys, {'clock', 'days', 'finished', 'receipts'})
    local first_kept = math.floor(time(k.clock) / DAY_MS) - SEEN_DAYS
    if tonumber(args[1]) >= first_kept then return {'kept'} end
    redis.call('UNLINK', k.finished, k.receipts)
    redis.call('ZREM', k.days, args[1])
    return {'forgotten'}
end

local function expire(keys, args)
    local k = named(keys, {'clock', 'totals', 'account', 'hold', 'leases', 'finished', 'days', 'operators',
        'journal', 'used_key', 'used_project', 'used_account', 'slots', 'running'})
    local a = named(args, {'request', 'account', 'day'})
    local now = time(k.clock)
    local fields = {'account', 'key', 'project', 'model', 'work', 'amount', 'due', 'attempt', 'keyset', 'cost', 'operator',
        'operator_part', 'usage', 'tokens', 'reserved', 'took'}
    local hold = named(redis.call('HMGET', k.hold, unpack(fields)), fields)
    if hold.account ~= a.account then return {'gone'} end
    if now < tonumber(hold.due) then return {'not_yet'} end
    local balance = read_account(k.account)
    local movement = {taken = tonumber(hold.cost or '0'), shortfall = 0, operator = tonumber(hold.operator_part or '0')}
    local operator = hold.operator or ''
    if not fits(k, balance, movement, operator) then return {'overflow'} end

    count_end(k, a.request, now, hold, hold.cost and tonumber(hold.tokens), movement.taken)
    end_hold(k, a.request, tonumber(hold.amount))
    if hold.cost then
        charge(k, movement, operator)
        hold.cause = a.request
        journal(k.journal, now, 'e', hold, movement)
    end
    remember(k.days, a.day, k.finished, a.request, pack('expired', hold.account, tonumber(hold.attempt), hold.keyset,
        movement.taken, operator, movement.operator, tonumber(hold.reserved)))
    return {'expired', text(movement.taken)}
end

redis.register_function('cocoon2_expired', expired)
redis.register_function('cocoon2_forget', forget)
redis.register_function('cocoon2_expire', expire)
