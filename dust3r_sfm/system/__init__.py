"""What the package needs of the machine: files, threads, compiled loops, the terminal."""
