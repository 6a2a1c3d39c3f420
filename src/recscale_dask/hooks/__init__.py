"""pluggy hooks: specifications, built-ins, and the manager that loads plugins."""
