"""Which pairs of photographs are predicted. Start at `select.select_pairs`."""
