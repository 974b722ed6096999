"""A local page where photographs are dropped and models come out: server, jobs, uploads, downloads."""
