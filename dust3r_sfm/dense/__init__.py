"""The workspace of multi-view stereo, depth maps in it, and what is fused from them."""
