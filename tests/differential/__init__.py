"""A harness that tells whether two engines write the same: messages, what comes of them, and engines that err."""
