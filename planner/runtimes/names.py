"""The name of the runtime that limits nothing. A module of its own, since objectives load no more than this."""

ANY = "any"
