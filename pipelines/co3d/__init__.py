"""CO3Dv2 (Reizenstein et al., ICCV 2021)."""
