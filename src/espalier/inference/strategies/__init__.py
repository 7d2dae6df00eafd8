"""The three strategies of the FSSL paper: sparse products with buffer, without, with filter."""
