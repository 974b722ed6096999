"""The global alignment: robust Gauss-Newton over all cameras, depths and pairs."""
