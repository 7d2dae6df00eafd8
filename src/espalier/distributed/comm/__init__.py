"""How ranks find, watch and send to each other."""
