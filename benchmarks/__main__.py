"""`make load`: how many rooms this machine holds."""

from benchmarks.load import main

main()
