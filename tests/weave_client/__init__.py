"""Weave's own clients, in a process apart: what one gets who only changes the address and the key."""
