# What can run a bundle's graphs. Nothing outside this package knows which engine it is; engine.py says what all share.
