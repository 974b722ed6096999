"""Is the verdict of a run right? Scenes that give right and wrong models, and the rates of both."""
