"""What moved beyond noise: exchanges of blocks of steps, how much steps depend on each other, sites and units."""
