"""Can runs be trusted: is their verdict right, and do they go on when they are killed?"""
