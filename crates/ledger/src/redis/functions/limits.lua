-- Limits, budgets and requests that run, for a key, its project and its account: their holders. Each has a record of
-- fixed size, a hash: two rates and the sums of four periods. `at` is its last use; one that is not `kept` is forgotten
-- 60 days after it, and then dropped by the server itself.
--
-- A rate is a debt that is paid off by its limit in every millisecond, in requests or tokens times 60000. Limits are
-- below 2^32, so a minute's worth is below 2^48; debts are bounded by 2^52, so all sums are exact. What is paid off may
-- be beyond 2^53 and rounded: then it is more than any debt.

local HOLDERS = {'key', 'project', 'account'}
local RATES = {'requests', 'tokens'}
local PERIODS = {'day', 'week', 'month'}
local PERIOD_OF_LETTER = {d = 'day', w = 'week', m = 'month', t = ''}
local NUMBERS = {'at', 'kept', 'requests_debt', 'requests_at', 'requests_limit', 'tokens_debt', 'tokens_at',
    'tokens_limit', 'day', 'day_spent', 'day_held', 'week', 'week_spent', 'week_held', 'month', 'month_spent',
    'month_held', 'spent', 'held'}
-- Sums of charges may be beyond 2^53.
local SPENT = {day_spent = true, week_spent = true, month_spent = true, spent = true}
local MINUTE_MS = 60000
local DEBT_LIMIT = 2^52
local USED_MS = 60 * DAY_MS
local CONCURRENCY_RETRY_MS = 1000
local UNLIMITED = ',,,,'

-- Months are counted from 1 March of the year 0.
local function periods_at(at)
    local day = math.floor(at / DAY_MS)
    local left = day + 719468
    local era = math.floor(left / 146097)
    left = left % 146097
    local year = math.floor((left - math.floor(left / 1460) + math.floor(left / 36524) - math.floor(left / 146096)) / 365)
    left = left - (365 * year + math.floor(year / 4) - math.floor(year / 100))
    local month = (era * 400 + year) * 12 + math.floor((5 * left + 2) / 153)
    -- 1970 began on a Thursday.
    return {day = day, week = math.floor((day + 3) / 7), month = month}
end

-- As it stands now; `fresh` has the sums that begin anew.
local function load_record(key, now)
    local record = named(redis.call('HMGET', key, unpack(NUMBERS)), NUMBERS)
    for _, name in ipairs(NUMBERS) do record[name] = tonumber(record[name] or '0') end
    record.fresh = {}
    if record.kept == 0 and record.at + USED_MS < now then
        for _, name in ipairs(NUMBERS) do record[name] = 0 end
        record.fresh.spent = true
    end
    record.at = now
    local numbers = periods_at(now)
    for _, period in ipairs(PERIODS) do
        if record[period] ~= numbers[period] then
            record[period], record[period .. '_spent'], record[period .. '_held'] = numbers[period], 0, 0
            record.fresh[period .. '_spent'] = true
        end
    end
    return record
end

-- With the changes of its sums of charges.
local function save_record(key, record, spent)
    local values = {}
    for _, name in ipairs(NUMBERS) do
        if not SPENT[name] or record.fresh[name] then
            values[#values + 1] = name
            values[#values + 1] = text(record[name])
        end
    end
    redis.call('HSET', key, unpack(values))
    for name, change in pairs(spent) do add(key, name, change) end
    if record.kept == 1 then
        redis.call('PERSIST', key)
    else
        redis.call('PEXPIRE', key, text(USED_MS))
    end
end

local function pay_off(record, rate, now)
    local paid = record[rate .. '_limit'] * (now - record[rate .. '_at'])
    record[rate .. '_debt'] = math.max(record[rate .. '_debt'] - paid, 0)
    record[rate .. '_at'] = now
end

local function bound_debt(record, rate)
    local most = math.min(record[rate .. '_limit'] * DAY_MS, DEBT_LIMIT)
    record[rate .. '_debt'] = math.min(math.max(record[rate .. '_debt'], 0), most)
end

local function set_limit(record, rate, limit, now)
    pay_off(record, rate, now)
    record[rate .. '_limit'] = limit or 0
    bound_debt(record, rate)
end

local function correct_rate(record, rate, taken, used, now)
    pay_off(record, rate, now)
    local counted = math.min(used, math.floor(DEBT_LIMIT / MINUTE_MS))
    record[rate .. '_debt'] = record[rate .. '_debt'] + (counted - taken) * MINUTE_MS
    bound_debt(record, rate)
end

local function wait_for(record, rate, count)
    local limit = record[rate .. '_limit']
    if limit == 0 then return math.huge end
    return math.ceil(math.max(record[rate .. '_debt'] + (count - limit) * MINUTE_MS, 0) / limit)
end

local function parse_limits(packed)
    local rpm, tpm, concurrency, amount, period = string.match(packed, '^(%d*),(%d*),(%d*),(%d*),(%a?)$')
    local limits = {requests = tonumber(rpm), tokens = tonumber(tpm), concurrency = tonumber(concurrency)}
    if amount ~= '' then
        limits.budget, limits.letter = math.min(tonumber(amount), AMOUNT_LIMIT - 1), period
        limits.period = PERIOD_OF_LETTER[period]
    end
    return limits
end

-- A sum of a record over the period of a budget.
local function sum_of(record, period, name)
    if period == '' then return record[name] end
    return record[period .. '_' .. name]
end

local function rest_of(holder)
    local limits, record = holder.limits, holder.record
    return limits.budget - sum_of(record, limits.period, 'spent') - sum_of(record, limits.period, 'held')
end

-- Requests that run: a slot of each in a sorted set by the end of its lease, and how many each holder has.
local function slot(request, key, project) return request .. '|' .. key .. '|' .. project end

local function counters(key, project)
    if project == '' then return {'k|' .. key, 'a'} end
    return {'k|' .. key, 'p|' .. project, 'a'}
end

local function enter_slot(k, request, key, project, lease_end)
    if redis.call('ZADD', k.slots, lease_end, slot(request, key, project)) == 0 then return end
    for _, counter in ipairs(counters(key, project)) do add(k.running, counter, 1) end
end

local function leave_slot(k, member)
    if redis.call('ZREM', k.slots, member) == 0 then return end
    local key, project = string.match(member, '^[^|]*|([^|]*)|([^|]*)$')
    for _, counter in ipairs(counters(key, project)) do
        if redis.call('HINCRBY', k.running, counter, '-1') <= 0 then redis.call('HDEL', k.running, counter) end
    end
end

-- Every slot is entered once and left once, here or when its hold ends.
local function leave_ended_slots(k, now)
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', k.slots, '-inf', text(now))) do leave_slot(k, member) end
end

local function running(k, counter)
    return tonumber(redis.call('HGET', k.running, counter) or '0')
end

-- The three records under the limits that hold now, or the word of a refusal.
local function read_holders(k, a, now)
    local caps = redis.call('HMGET', k.caps, 'account', 'project:' .. a.project, 'revoked:' .. a.key)
    if caps[3] and tonumber(caps[3]) <= now then return nil, 'revoked' end
    leave_ended_slots(k, now)
    local packed = {key = a.limits, project = caps[2] or UNLIMITED, account = caps[1] or UNLIMITED}
    local counter = {key = 'k|' .. a.key, project = 'p|' .. a.project, account = 'a'}
    local holders = {}
    for _, name in ipairs(HOLDERS) do
        if name ~= 'project' or a.project ~= '' then
            local limits = parse_limits(packed[name])
            local record = load_record(k['used_' .. name], now)
            record.kept = limits.letter == 't' and 1 or 0
            for _, rate in ipairs(RATES) do set_limit(record, rate, limits[rate], now) end
            holders[#holders + 1] = {
                name = name, limits = limits, record = record, key = k['used_' .. name], counter = counter[name],
                asks = {requests = 1, tokens = math.min(tonumber(a.tokens), record.tokens_limit)},
            }
        end
    end
    return holders
end

-- The limit that stands longest against a request: holder, limit and milliseconds.
local function longest_wait(k, holders)
    local longest, who, what = 0
    local function consider(holder, limit, wait)
        if wait > longest then longest, who, what = wait, holder.name, limit end
    end
    for _, holder in ipairs(holders) do
        for _, rate in ipairs(RATES) do
            if holder.limits[rate] then consider(holder, rate, wait_for(holder.record, rate, holder.asks[rate])) end
        end
        local most = holder.limits.concurrency
        if most and running(k, holder.counter) >= most then
            consider(holder, 'concurrency', most == 0 and math.huge or CONCURRENCY_RETRY_MS)
        end
    end
    return who, what, longest
end

-- What is left of the rates that leave least, at the end of a reply.
local function with_rates(reply, holders)
    for _, rate in ipairs(RATES) do
        local least, tightest
        for _, holder in ipairs(holders) do
            local limit = holder.limits[rate]
            if limit then
                local debt = holder.record[rate .. '_debt']
                local left = math.floor(math.max(limit * MINUTE_MS - debt, 0) / MINUTE_MS)
                if not least or left < least then
                    least, tightest = left, {text(limit), text(left), text(math.ceil(debt / math.max(limit, 1)))}
                end
            end
        end
        for index = 1, 3 do reply[#reply + 1] = tightest and tightest[index] or '' end
    end
    return reply
end

-- Takes what a request asks for; answers what that was, as it is kept with the hold.
local function take_of_holders(k, a, holders, amount, lease_end)
    local took = {key = ',', project = ',', account = ','}
    for _, holder in ipairs(holders) do
        local record, taken = holder.record, {}
        for index, rate in ipairs(RATES) do
            taken[index] = ''
            if holder.limits[rate] then
                record[rate .. '_debt'] = record[rate .. '_debt'] + holder.asks[rate] * MINUTE_MS
                taken[index] = text(holder.asks[rate])
            end
        end
        took[holder.name] = table.concat(taken, ',')
        for _, period in ipairs(PERIODS) do record[period .. '_held'] = record[period .. '_held'] + amount end
        record.held = record.held + amount
        save_record(holder.key, record, {})
    end
    enter_slot(k, a.request, a.key, a.project, lease_end)
    return table.concat({took.key, took.project, took.account}, ',')
end

-- What a hold leaves behind, or a receipt without one (`held` 0, no `took`): `spent` is charged to the periods of the
-- reserve, and of the rates `tokens` stay used (nil: nothing).
local function count(k, now, change)
    local numbers = periods_at(change.reserved)
    local requests, tokens = {}, {}
    requests.key, tokens.key, requests.project, tokens.project, requests.account, tokens.account =
        string.match(change.took or ',,,,,', '^(%d*),(%d*),(%d*),(%d*),(%d*),(%d*)$')
    for _, name in ipairs(HOLDERS) do
        if name ~= 'project' or change.project ~= '' then
            local key = k['used_' .. name]
            local record, spent = load_record(key, now), {}
            local function move(prefix)
                -- A record that was forgotten meanwhile does not know of the hold.
                record[prefix .. 'held'] = math.max(record[prefix .. 'held'] - change.held, 0)
                spent[prefix .. 'spent'] = math.max(change.spent, -record[prefix .. 'spent'])
            end
            for _, period in ipairs(PERIODS) do
                if record[period] == numbers[period] then move(period .. '_') end
            end
            move('')
            if tokens[name] ~= '' then
                correct_rate(record, 'tokens', tonumber(tokens[name]), change.tokens or 0, now)
            end
            if requests[name] ~= '' and not change.tokens then
                correct_rate(record, 'requests', tonumber(requests[name]), 0, now)
            end
            save_record(key, record, spent)
        end
    end
end

-- A hold that ends leaves the requests that run too.
local function count_end(k, request, now, hold, tokens, spent)
    leave_slot(k, slot(request, hold.key, hold.project))
    count(k, now, {
        reserved = tonumber(hold.reserved), project = hold.project, held = tonumber(hold.amount), took = hold.took,
        tokens = tokens, spent = spent,
    })
end

-- The record of one holder, and how many of its requests run.
local function standing(keys, args)
    local k = named(keys, {'clock', 'used', 'slots', 'running'})
    local now = time(k.clock)
    leave_ended_slots(k, now)
    local reply = {text(now), text(running(k, args[1]))}
    for index, number in ipairs(redis.call('HMGET', k.used, unpack(NUMBERS))) do reply[index + 2] = number or '0' end
    return reply
end

redis.register_function('cocoon2_standing', standing)
