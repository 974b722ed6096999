"""RealEstate10K (Zhou et al., SIGGRAPH 2018)."""
