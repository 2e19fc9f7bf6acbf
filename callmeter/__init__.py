"""The command line: starts worker and api, alone or all together with an embedded broker and Redis."""
