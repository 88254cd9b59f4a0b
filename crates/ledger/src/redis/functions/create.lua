-- Makes the ledger where there is none, and answers what it was made with.
local function create(keys, args)
    if redis.call('EXISTS', keys[1]) == 0 then
        redis.call('HSET', keys[1], 'schema', args[1], 'shards', args[2], 'test_clock', args[3])
    end
    local made = redis.call('HMGET', keys[1], 'schema', 'shards', 'test_clock')
    return {made[1] or '', made[2] or '', made[3] or ''}
end

local function set_time(keys, args)
    redis.call('HSET', keys[1], 'test', args[1])
    return {'set'}
end

redis.register_function('cocoon2_create', create)
redis.register_function('cocoon2_set_time', set_time)
