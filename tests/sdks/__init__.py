"""Programs that use SDKs as their users do, each a process of its own; they print what they did."""
