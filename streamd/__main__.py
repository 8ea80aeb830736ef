"""`python -m streamd` is `streamd`."""

from streamd.cli import main

if __name__ == "__main__":
    main()
