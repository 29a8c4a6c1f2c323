"""People and programs that use the panel: accounts, roles, sessions, tokens, links, and the record of what they did."""
