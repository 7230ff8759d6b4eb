"""A transformer's dimensions as operators with FLOP, bytes and collectives."""
