-- Uses something up, once. KEYS: the epoch of this memory; what is used. ARGV: the caller's time, when it was issued, when
-- it expires (all in seconds), how far off a caller's clock may be, and how far ahead what was issued may be dated.
-- Answers: what came of it, since when this memory reaches back, and whether it begins with this call.
local now = tonumber(redis.call('TIME')[1])
local used_at, off, ahead = tonumber(ARGV[1]), tonumber(ARGV[4]), tonumber(ARGV[5])
local epoch = redis.call('HMGET', KEYS[1], 'mark', 'since', 'seen')
-- Written before anybody is refused: a clock that is ahead, and lets keys expire before their time, is one that every
-- caller is refused for.
local seen = math.max(tonumber(epoch[3]) or 0, now)
redis.call('HSET', KEYS[1], 'seen', seen)
if math.abs(now - used_at) > off then return {'clock', now, 0} end

-- Who this server is, and what it threw away: a restart, a failover and an eviction change one of them, and a flush
-- takes the epoch with it.
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local evicted = string.match(redis.call('INFO', 'stats'), 'evicted_keys:(%d+)')
if not run or not evicted then return {'blind', now, 0} end
local mark = run .. ':' .. evicted
local since, begins = tonumber(epoch[2]), 0
-- A clock that was further ahead than records are kept beyond their time may have let them expire. By how much it can be
-- right is known only now that it agrees with the caller's.
if epoch[1] ~= mark or not since or now + off < seen then
    since, begins = now, 1
    redis.call('HSET', KEYS[1], 'mark', mark, 'since', since, 'seen', now)
end

if redis.call('EXISTS', KEYS[2]) == 1 then return {'replay', since, begins} end
local issued, expires = tonumber(ARGV[2]), tonumber(ARGV[3])
-- What is dated further ahead than is reckoned with below is not taken, whatever leeway its node gives.
if issued > used_at + ahead then return {'unknown', since, begins} end
-- Before this memory began it may have been used by a node whose clock was ahead, and dated ahead of that.
if issued <= since + off + ahead then return {'unknown', since, begins} end
-- For a node whose clock is behind it is good for longer.
local left = expires + off - now
if left <= 0 then return {'unknown', since, begins} end
-- Kept for as much longer as the clock of this server may step back unnoticed.
redis.call('SET', KEYS[2], 1, 'EX', left + off + 1)
return {'first', since, begins}
