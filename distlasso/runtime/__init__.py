"""Where passes run: a plan of bundles, and runtimes that answer requests over all of them."""
