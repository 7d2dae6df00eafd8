"""What is proven about a network before it runs: equal rows, constants, fixed points."""
