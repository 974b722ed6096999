"""Cambridge Landmarks (Kendall et al., ICCV 2015)."""
