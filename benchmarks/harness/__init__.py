"""What every benchmark needs: sections, tables, machines, published figures."""
