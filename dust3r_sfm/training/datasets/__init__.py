"""Where training pairs come from. Every source offers the same: how many pairs, and one of them by its number."""
