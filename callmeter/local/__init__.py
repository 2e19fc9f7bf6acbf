"""Everything on one machine: embedded broker and Redis, child processes, made-up traces."""
