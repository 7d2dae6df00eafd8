"""What `espalier bench` times: the same work by espalier and by what a user has without it."""
