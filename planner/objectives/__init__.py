"""The objectives: the shortest step, the least memory, the least period, the fewest devices."""
