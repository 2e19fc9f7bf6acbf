"""How large a message may be, whoever sends, fetches or decodes it."""

# The largest value that is sent and decoded; what the broker takes is its own `max.message.bytes`. Some seconds of a
# worker, which decodes it in pieces.
MESSAGE_BYTES_MAX = 64 * 2**20
