"""The tests, one folder a tier; a package, so that no other `tests` on the path stands in."""
