-- Money that goes out. An account's address is a hash: current, pending, from (when the pending one is current). A
-- shard's intents are a hash of text: state, account, amount, address. States: b begun, d done, u undone. Those that are
-- begun are in a sorted set too, all of one score, so that they are read by id, in pages.

local ADDRESS_DELAY_MS = 86400000

-- As it stands now.
local function read_payout(key, now)
    local values = redis.call('HMGET', key, 'current', 'pending', 'from')
    local payout = {current = values[1] or '', pending = values[2] or '', from = tonumber(values[3] or '0')}
    if payout.pending ~= '' and payout.from <= now then
        return {current = payout.pending, pending = '', from = 0}
    end
    return payout
end

-- Empty: it is only asked for.
local function set_payout(keys, args)
    local k = named(keys, {'clock', 'payout'})
    local address = args[1]
    local now = time(k.clock)
    local payout = read_payout(k.payout, now)
    if address ~= '' then
        if payout.current == address then
            payout.pending, payout.from = '', 0
        elseif payout.pending ~= address then
            payout.pending, payout.from = address, now + ADDRESS_DELAY_MS
        end
        redis.call('HSET', k.payout, 'current', payout.current, 'pending', payout.pending, 'from', text(payout.from))
    end
    return {'payout', payout.current, payout.pending, text(payout.from)}
end

local function read_intent(key, id)
    local packed = redis.call('HGET', key, id)
    if not packed then return nil end
    local state, account, amount, address = string.match(packed, '^(%a)|([^|]*)|(%d+)|([^|]*)$')
    return {state = state, account = account, amount = amount, address = address}
end

local function write_intent(key, id, intent)
    redis.call('HSET', key, id, table.concat({intent.state, intent.account, intent.amount, intent.address}, '|'))
end

local function journal_withdrawal(k, now, kind, a, change)
    redis.call('XADD', k.journal, '*', 't', text(now), 'k', kind, 'a', a.account, 'c', a.intent, 'y', '', 'p', '',
        'm', '', 'w', '', 'o', '', 'r', '', 'd', '', 'u', '', 'n', text(change), 's', '0', 'op', '0', 'pl', '0')
end

-- From the balance to what is being paid out; back where negative.
local function withdraw(k, amount)
    add(k.account, 'balance', -amount)
    add(k.account, 'withdrawing', amount)
    add(k.totals, 'balances', -amount)
    add(k.totals, 'withdrawing', amount)
end

-- Of two sums in text, which may be larger than a double counts: exact where it is below 2^53, and of the right sign.
local function difference(left, right)
    local function parts(sum) return tonumber(string.sub(sum, 1, -10)) or 0, tonumber(string.sub(sum, -9)) end
    local left_high, left_low = parts(left)
    local right_high, right_low = parts(right)
    return (left_high - right_high) * 10^9 + left_low - right_low
end

-- Of what is available, only what was deposited: charges consume test credit first.
local function withdrawable(account)
    local sums = redis.call('HMGET', account, 'granted', 'charged')
    local balance, available = read_account(account)
    return math.max(0, math.min(available, balance - difference(sums[1] or '0', sums[2] or '0')))
end

local function withdraw_begin(keys, args)
    local k = named(keys, {'clock', 'totals', 'account', 'journal', 'payout', 'withdrawals', 'stopped', 'open'})
    local a = named(args, {'account', 'intent', 'amount'})
    local now = time(k.clock)
    local before = read_intent(k.withdrawals, a.intent)
    if before then
        if before.account ~= a.account or before.amount ~= a.amount then return {'other_intent'} end
        local words = {b = 'begun', d = 'done', u = 'undone'}
        return {words[before.state], before.address}
    end
    local reason = redis.call('GET', k.stopped)
    if reason then return {'stopped', reason} end
    local payout = read_payout(k.payout, now)
    if payout.current == '' then return {'no_address', payout.pending ~= '' and text(payout.from) or ''} end
    local amount, most = tonumber(a.amount), withdrawable(k.account)
    if amount > most or amount == 0 then return {'insufficient', text(most)} end

    withdraw(k, amount)
    write_intent(k.withdrawals, a.intent,
        {state = 'b', account = a.account, amount = a.amount, address = payout.current})
    redis.call('ZADD', k.open, '0', a.intent)
    journal_withdrawal(k, now, 'w', a, -amount)
    return {'begun', payout.current}
end

local function end_withdrawal(keys, args, ending)
    local k = named(keys, {'clock', 'totals', 'account', 'journal', 'withdrawals', 'open'})
    local a = named(args, {'account', 'intent'})
    local now = time(k.clock)
    local intent = read_intent(k.withdrawals, a.intent)
    if not intent or intent.account ~= a.account then return {'unknown'} end
    if intent.state == ending then return {'ended'} end
    if intent.state ~= 'b' then return {'otherwise'} end
    local amount = tonumber(intent.amount)
    if ending == 'u' then
        if read_account(k.account) + amount >= AMOUNT_LIMIT or not has_room(k.totals, 'balances', amount) then
            return {'overflow'}
        end
        withdraw(k, -amount)
        journal_withdrawal(k, now, 'u', a, amount)
    else
        if not has_room(k.totals, 'withdrawn', amount) then return {'overflow'} end
        add(k.account, 'withdrawing', -amount)
        add(k.account, 'withdrawn', amount)
        add(k.totals, 'withdrawing', -amount)
        add(k.totals, 'withdrawn', amount)
        journal_withdrawal(k, now, 'o', a, 0)
    end
    intent.state = ending
    write_intent(k.withdrawals, a.intent, intent)
    redis.call('ZREM', k.open, a.intent)
    return {'ended'}
end

-- Four texts of each; `after` is empty for the first.
local function open_withdrawals(keys, args)
    local k = named(keys, {'clock', 'withdrawals', 'open'})
    local a = named(args, {'after', 'limit'})
    time(k.clock)
    local from = a.after == '' and '-' or '(' .. a.after
    local found = {'open'}
    for _, id in ipairs(redis.call('ZRANGEBYLEX', k.open, from, '+', 'LIMIT', '0', a.limit)) do
        local intent = read_intent(k.withdrawals, id)
        for _, value in ipairs({id, intent.account, intent.amount, intent.address}) do
            found[#found + 1] = value
        end
    end
    return found
end

redis.register_function('cocoon2_set_payout', set_payout)
redis.register_function('cocoon2_withdraw_begin', withdraw_begin)
redis.register_function('cocoon2_withdraw_done', function(keys, args) return end_withdrawal(keys, args, 'd') end)
redis.register_function('cocoon2_withdraw_undo', function(keys, args) return end_withdrawal(keys, args, 'u') end)
redis.register_function('cocoon2_open_withdrawals', open_withdrawals)
