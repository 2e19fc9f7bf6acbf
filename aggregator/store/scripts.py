"""What Redis does for a shard by itself, in Lua: appends to postings, and fences that move."""

from aggregator.layout.keys import POSTING_BLOCK_BYTES

# Appends to postings, moving each full block away. KEYS: postings, blocks. ARGV: field, bytes, field, bytes, ...
# The first four bytes of a posting count its full blocks. Sent whole each time: a script that is not known to the
# server would fail alone inside the transaction, and leave the rest of it written.
APPEND_POSTINGS = f"""
local fields, blocks = KEYS[1], KEYS[2]
for i = 1, #ARGV, 2 do
  local field, more = ARGV[i], ARGV[i + 1]
  local kept = redis.call('HGET', fields, field)
  if not kept then kept = string.char(0, 0, 0, 0) end
  if #kept + #more > {POSTING_BLOCK_BYTES} and #kept > 4 then
    local a, b, c, d = string.byte(kept, 1, 4)
    local full = ((a * 256 + b) * 256 + c) * 256 + d
    redis.call('HSET', blocks, full .. ':' .. field, string.sub(kept, 5))
    full = full + 1
    kept = string.char(math.floor(full / 16777216) % 256, math.floor(full / 65536) % 256,
                       math.floor(full / 256) % 256, full % 256)
  end
  redis.call('HSET', fields, field, kept .. more)
end
"""

MOVE_AWAY = """
local next = redis.call('GET', KEYS[1]) or ''
if string.sub(next, 1, 6) ~= 'moved:' then
  next = 'moved:' .. next
  redis.call('SET', KEYS[1], next)
end
return next
"""
MOVE_BACK = """
local next = redis.call('GET', KEYS[1])
if next == 'moved:' then
  redis.call('DEL', KEYS[1])
elseif next and string.sub(next, 1, 6) == 'moved:' then
  redis.call('SET', KEYS[1], string.sub(next, 7))
end
return 0
"""
