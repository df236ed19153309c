"""How notebooks, README and docs become a site and slides that need no Python and no network."""
