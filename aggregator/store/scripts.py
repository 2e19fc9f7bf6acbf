"""Moves the fences of shards: what Redis does for that by itself, in Lua."""

# A shard's fence moves away by a lease. One that another lease has moved stays so, and nothing is returned, but for a
# lease that is known to have ended. KEYS: fence. ARGV: mark of the lease, mark of the ended one.
MOVE_AWAY = """
local next = redis.call('GET', KEYS[1]) or ''
if string.sub(next, 1, 6) == 'moved:' then
  local at = string.find(next, ':~', 1, true)
  if at then
    local mark = string.sub(next, at)
    if mark ~= ARGV[1] and mark ~= ARGV[2] then return false end
    next = string.sub(next, 1, at - 1)
  end
else
  next = 'moved:' .. next
end
redis.call('SET', KEYS[1], next .. ARGV[1])
return next
"""

# It comes back, whoever moved it, or by that lease alone. KEYS: fence. ARGV: mark of the lease, or nothing. Returns
# whether it has come back.
MOVE_BACK = """
local next = redis.call('GET', KEYS[1])
if not next or string.sub(next, 1, 6) ~= 'moved:' then return 0 end
local at = string.find(next, ':~', 1, true)
local mark = at and string.sub(next, at) or ''
if ARGV[1] ~= '' and ARGV[1] ~= mark then return 0 end
local before = string.sub(next, 7, at and at - 1 or -1)
if before == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], before)
end
return 1
"""

# The switch to another generation by the holder of the lease, which ends with it. KEYS: live, lease. ARGV: lease,
# namespace.
SWITCH = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('DEL', KEYS[2])
return 1
"""

# A lease that is still held goes on. KEYS: lease. ARGV: lease, milliseconds.
RENEW = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
"""

# Whether a lease has ended without a switch: its holder then never switches. KEYS: live, lease. ARGV: lease, the
# namespace that was live, base.
IS_OVER = """
if redis.call('GET', KEYS[2]) == ARGV[1] then return 0 end
if (redis.call('GET', KEYS[1]) or ARGV[3]) ~= ARGV[2] then return 0 end
return 1
"""

# What one holder has written goes, if it is still that one's. KEYS: a string. ARGV: the holder.
DELETE_OURS = """
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
"""
