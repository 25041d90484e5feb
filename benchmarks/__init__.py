"""Measurements that take too long for the tests, each a command that writes its table into docs/."""
