"""What espalier gains on this machine: the same work beside what a user has without it."""
