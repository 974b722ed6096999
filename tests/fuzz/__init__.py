"""Every kind of file that the package reads, damaged: only the package's own errors may come out, soon and small."""
