-- Uses something up, once. KEYS: the epoch of this memory; what is used. ARGV: the caller's time, when it was issued, when
-- it expires (all in seconds), how far off a caller's clock may be, and how far ahead what was issued may be dated.
-- Answers: what came of it, since when this memory reaches back, and whether it begins with this call.
local now = tonumber(redis.call('TIME')[1])
local off, ahead = tonumber(ARGV[4]), tonumber(ARGV[5])
if math.abs(now - tonumber(ARGV[1])) > off then return {'clock', now, 0} end

-- Who this server is, and what it threw away: a restart, a failover and an eviction change one of them, and a flush
-- takes the epoch with it.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local evicted = string.match(redis.call('INFO', 'stats'), 'evicted_keys:(%d+)')
if not run or not evicted then return {'blind', now, 0} end
local mark = run .. ':' .. evicted
local epoch = redis.call('HMGET', KEYS[1], 'mark', 'since', 'seen')
local since, begins = tonumber(epoch[2]), 0
-- A clock that was ahead may have let keys expire before their time.
if epoch[1] ~= mark or not since or now < (tonumber(epoch[3]) or 0) then
    since, begins = now, 1
    redis.call('HSET', KEYS[1], 'mark', mark, 'since', since)
end
redis.call('HSET', KEYS[1], 'seen', now)

if redis.call('EXISTS', KEYS[2]) == 1 then return {'replay', since, begins} end
local issued, expires = tonumber(ARGV[2]), tonumber(ARGV[3])
-- Before this memory began it may have been used by a node whose clock was ahead, and dated ahead of that.
if issued <= since + off + ahead then return {'unknown', since, begins} end
-- For a node whose clock is behind it is good for longer.
local left = expires + off - now
if left <= 0 then return {'unknown', since, begins} end
redis.call('SET', KEYS[2], 1, 'EX', left + 1)
return {'first', since, begins}
